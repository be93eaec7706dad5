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

from evaluation.result import read_result
from orchestration.run.run_point import run_point
from tests.conftest import ROOT, TINY

STUB = Path(__file__).with_name("stub_sweep.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def stub(folder, seed, num_kills, num_at_once, *arguments, **environment):
    command = [sys.executable, str(STUB), str(seed), str(num_kills), str(num_at_once)]
    command += ["-m", f"results_dir={folder}", "logger=none", *arguments]
    environment = ENVIRONMENT | environment
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def codes(done) -> list[str]:
    """The exit codes of the starts that were not killed."""
    (found,) = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("CODES")] or [[]]
    assert found, done.stdout + done.stderr
    return found


def journal(folder) -> tuple[Counter[str], Counter[str]]:
    """How often each point began and ended."""
    lines = [line.split() for line in (folder / "journal").read_text().splitlines()]
    return Counter(i for i, what in lines if what == "begins"), Counter(i for i, what in lines if what == "ends")


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "num_kills", "num_at_once"), [(0, 10, 1), (1, 4, 2)])
def test_a_sweep_that_is_killed_again_and_again(tmp_path, seed, num_kills, num_at_once):
    """14 moments, in 4 of them two sweeps at once, both killed."""
    done = stub(tmp_path, seed, num_kills, num_at_once, "method=lc_svd,lc_cur", "seed=range(0,15)")
    assert "TORCH False" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert "done twice" not in done.stdout + done.stderr
    assert set(codes(done)) <= {"0", "3"}, done.stderr
    begun, ended = journal(tmp_path)
    rows = [read_result(path) for path in tmp_path.rglob("result.json")]
    assert len(rows) == len({row.id for row in rows}) == 30
    assert all(row.is_ok for row in rows)
    assert set(begun) == {row.id for row in rows}
    assert max(ended.values()) == 1
    if num_at_once == 1:  # four kills may all fall between points
        assert sum(begun.values()) > 30, "no point was killed: the test tests nothing"


def test_two_sweeps_at_once_do_no_point_twice_and_say_who_runs_what(tmp_path):
    done = stub(tmp_path, 0, 0, 2, "seed=range(0,16)")
    begun, ended = journal(tmp_path)
    assert set(begun.values()) == set(ended.values()) == {1}
    assert len(begun) == 16
    assert "running elsewhere: pid " in done.stdout
    assert "CODES" in done.stdout


@pytest.mark.slow
def test_the_real_command_killed_at_random_moments(tmp_path, make_point):
    """Three kills of a process with torch, soon after one of its first lines; it ends with the numbers of a whole run.

    Moments are counted in lines, for a busy machine is slower by any factor.
    """
    own = ("network.hidden=[16]", "checkpoint_seconds=0", "schedule.reference.epochs=5")
    command = [sys.executable, "run.py", "-m", *TINY, *own, f"results_dir={tmp_path / 'killed'}", "seed=0,1"]
    draw = random.Random(0)
    codes = []
    for num_lines in (*(draw.randint(2, 5) for _ in range(3)), None):
        process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        if num_lines is not None:
            said = [line for _, line in zip(range(num_lines), process.stdout, strict=False)]
            time.sleep(draw.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        out, _ = process.communicate(timeout=600)
        codes.append(process.returncode)
    assert codes[-1] == 0, out
    assert codes.count(-signal.SIGKILL) >= 2, (codes, said)
    for seed in (0, 1):
        point = make_point(*own, f"seed={seed}")
        whole = run_point(point)
        killed = read_result(tmp_path / "killed" / point.directory.relative_to(point.results_dir) / "result.json")
        assert killed.status == whole.status == "ok"
        assert killed.reference.test_loss == whole.reference.test_loss
        assert killed.compressed.test_loss == whole.compressed.test_loss
        assert killed.history == whole.history
    assert len(list(tmp_path.rglob("killed/references/**/*.pt"))) == 2
    assert len(list(tmp_path.rglob("killed/**/result.json"))) == 2
    left = [path for path in tmp_path.rglob("killed/**/*") if path.name.startswith(".") or path.suffix == ".ckpt"]
    assert left == []
