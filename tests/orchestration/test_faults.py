"""Killed at random moments, a sweep is typed again: nothing is lost or done twice, nothing half-written is read."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT, TINY

from evaluation.result import read_result

STUB = Path(__file__).with_name("stub_sweep.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def stub(folder, seed, num_kills, num_at_once, *arguments):
    command = [sys.executable, str(STUB), str(seed), str(num_kills), str(num_at_once)]
    command += ["-m", f"results_dir={folder}", "logger=none", *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=500)


def journal(folder) -> tuple[Counter[str], Counter[str]]:
    """How often each point began and ended."""
    lines = [line.split() for line in (folder / "journal").read_text().splitlines()]
    return Counter(i for i, what in lines if what == "begins"), Counter(i for i, what in lines if what == "ends")


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "num_kills", "num_at_once"), [(0, 26, 1), (1, 5, 2)])
def test_a_sweep_that_is_killed_again_and_again(tmp_path, seed, num_kills, num_at_once):
    """31 moments, in 5 of them two sweeps at once, both killed."""
    done = stub(tmp_path, seed, num_kills, num_at_once, "method=lc_svd,lc_cur", "seed=range(0,15)")
    assert "TORCH False" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert "done twice" not in done.stdout + done.stderr
    (codes,) = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("CODES")]
    assert set(codes) <= {"0", "3"}, done.stderr
    begun, ended = journal(tmp_path)
    rows = [read_result(path) for path in tmp_path.rglob("result.json")]
    assert len(rows) == len({row.id for row in rows}) == 30
    assert all(row.is_ok for row in rows)
    assert set(begun) == {row.id for row in rows}
    assert max(ended.values()) == 1
    assert sum(begun.values()) > 30, "no point was killed: the test tests nothing"


def test_two_sweeps_at_once_do_no_point_twice_and_say_who_runs_what(tmp_path):
    done = stub(tmp_path, 0, 0, 2, "seed=range(0,16)")
    begun, ended = journal(tmp_path)
    assert set(begun.values()) == set(ended.values()) == {1}
    assert len(begun) == 16
    assert "running elsewhere: pid " in done.stdout
    assert "CODES" in done.stdout


@pytest.mark.slow
def test_the_real_command_killed_at_random_moments(tmp_path):
    """Three kills of a process with torch, in whatever it does; the rows are those of a sweep that nobody disturbed."""
    arguments = ["-m", *TINY, "network.hidden=[16]", "checkpoint_seconds=0", "method=reference,lc_svd", "seed=0,1"]
    draw = random.Random(0)
    command = [sys.executable, "run.py", *arguments]
    for attempt in range(4):
        process = subprocess.Popen(
            [*command, f"results_dir={tmp_path / 'killed'}"],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )
        if attempt < 3:
            for line in process.stdout:  # from here on torch is loaded
                if "(" in line:
                    break
            time.sleep(draw.uniform(0, 2))
            process.send_signal(signal.SIGKILL)
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    whole = subprocess.run([*command, f"results_dir={tmp_path / 'whole'}"], cwd=ROOT, env=ENVIRONMENT, timeout=300)
    assert whole.returncode == 0
    losses = []
    for folder in ("killed", "whole"):
        rows = [read_result(path) for path in (tmp_path / folder).rglob("result.json")]
        losses.append({row.id: (row.status, row.reference.test_loss, row.compressed.test_loss) for row in rows})
        assert len(list((tmp_path / folder / "references").rglob("*.pt"))) == 2
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
