"""A command whose output nobody reads: it computes the same, ends with its own exit code, and prints no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.result import write_result
from tests.commands import Started, run_script
from tests.conftest import TINY
from tests.made_rows import result

SWEEP = ("-m", *TINY, "network.hidden=[16]", "method=reference", "results_dir=results")


def reader_of_three_lines() -> None:
    """As `… | head -n 3`."""
    head = subprocess.Popen(["head", "-n", "3"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert head.stdin is not None
    os.dup2(head.stdin.fileno(), 1)
    head.stdin.close()


def reader_that_is_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)
    os.close(writing)


def terminal_that_is_closed() -> None:
    """After the first line: from then on a write to it is EIO."""
    ours, theirs = os.openpty()
    os.dup2(theirs, 1)
    os.close(theirs)

    def close() -> None:
        os.read(ours, 1)
        os.close(ours)

    threading.Thread(target=close, daemon=True).start()


def full_disk() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def closed() -> None:
    """As `… >&-`: Python then has no sys.stdout."""
    os.close(1)
    sys.stdout = None  # type: ignore[assignment]


WAYS = [reader_of_three_lines, terminal_that_is_closed, full_disk, closed]


def lost(lose: Callable[[], None], script: str, arguments: list[str], with_stderr: bool = False) -> None:
    lose()
    if with_stderr:
        os.dup2(1, 2)
    run_script(script, arguments)


def run(tmp_path: Path, lose: Callable[[], None], script: str, *arguments: str, with_stderr: bool = False):
    with Started(lost, lose, script, list(arguments), with_stderr, cwd=tmp_path) as started:
        return started.wait()


@pytest.mark.slow
@pytest.mark.parametrize("lose", WAYS, ids=lambda lose: lose.__name__)
def test_a_sweep_goes_on_and_ends_with_its_own_code(tmp_path, lose):
    """One of its points diverges: 1."""
    done = run(tmp_path, lose, "run.py", *SWEEP, "schedule.reference.learning_rate=0.05,1e30,0.01")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    rows = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert sorted(row["status"].partition(":")[0] for row in rows) == ["diverged", "ok", "ok"]
    logs = [path.read_text() for path in tmp_path.rglob("run.log")]
    assert sum("reference trained" in log for log in logs) == 2
    assert done.stderr.count("note: stdout is lost") == (lose is not closed)
    assert "1 of 3 points failed" in done.stderr


@pytest.mark.parametrize("lose", [reader_that_is_gone, full_disk], ids=lambda lose: lose.__name__)
def test_a_point_that_can_say_nothing_anywhere_is_done(tmp_path, lose):
    done = run(tmp_path, lose, "run.py", *SWEEP[1:], with_stderr=True)
    assert done.returncode == 0
    (path,) = tmp_path.rglob("result.json")
    assert json.loads(path.read_text())["status"] == "ok"
    assert "stdout is lost: " in path.with_name("run.log").read_text()


@pytest.mark.parametrize(
    ("lose", "code", "said"),
    [
        (reader_that_is_gone, 0, ""),
        (closed, 0, ""),
        (full_disk, 1, "error: what was asked for could not be printed: No space left on device\n"),
    ],
)
@pytest.mark.parametrize("how", ["--markdown", "--print"])
def test_a_report_that_nobody_reads_ends_quietly_and_one_that_was_lost_is_an_error(tmp_path, lose, code, said, how):
    write_result(tmp_path / "result.json", result())
    done = run(tmp_path, lose, "report.py", str(tmp_path), how)
    assert (done.returncode, done.stderr) == (code, said)


def test_what_a_report_writes_does_not_depend_on_what_it_says(tmp_path):
    write_result(tmp_path / "results" / "result.json", result())
    done = run(tmp_path, reader_that_is_gone, "report.py", "results", with_stderr=True)
    assert done.returncode == 0
    assert (tmp_path / "report" / "index.html").exists()


def test_a_log_that_cannot_be_opened_does_not_end_the_point(make_point, capfd, monkeypatch):
    from orchestration.run.run_point import run_point

    point = make_point("trainer=smoke", "method=reference", "network.hidden=[8]")
    (point.directory / "run.log").mkdir(parents=True)
    monkeypatch.setattr("orchestration.store.claim.set_aside_odd", lambda point: None)  # a folder is no plain file
    assert run_point(point).is_ok
    assert capfd.readouterr().out.count("no log: ") == 1
