"""How a sweep ends: its exit code, and what it says of points that failed, died or run elsewhere."""

from __future__ import annotations

import os
import signal

import pytest

from evaluation.result import read_result
from orchestration.run.run_point import run_point
from orchestration.store.claim import claim
from orchestration.store.owned_files import LOCK
from orchestration.store.status import read_status
from orchestration.sweep.summary import FAILED, summarise
from runtime.file_lock import locked
from tests.conftest import TINY
from tests.orchestration.sweep.test_faults import codes, journal, stub

LEFT = f"network.pt.{32 * 'a'}"  # of a process that was killed before its row was written


@pytest.mark.parametrize(("fail_fast", "num_begun"), [("true", 2), ("false", 3)])
def test_fail_fast_stops_at_the_first_failure(tmp_path, fail_fast, num_begun):
    done = stub(tmp_path, 0, 0, 1, "seed=0,1,2", f"fail_fast={fail_fast}", STUB_FAILS="1")
    assert codes(done) == ["1"]
    begun, _ = journal(tmp_path)
    assert len(begun) == num_begun
    assert "1 of 3 points failed" in done.stderr
    assert "seed=1: failed: as told" in done.stderr
    assert ("1 of 3 points were not run" in done.stderr) == (fail_fast == "true")


def test_a_point_that_is_killed_leaves_a_row_and_the_others_go_on(tmp_path):
    """By the kernel, say, for want of memory; also when the command is typed again."""
    for _ in range(2):
        done = stub(tmp_path, 0, 0, 1, "seed=0,1,2", STUB_IS_KILLED="1")
        assert codes(done) == ["1"]
        assert "TORCH False" in done.stdout
        assert "1 of 3 points failed" in done.stderr
        assert "seed=1: failed: its process was killed by signal 9 (short of memory?)" in done.stderr
        statuses = {row.seed: row.status for row in map(read_result, tmp_path.rglob("result.json"))}
        assert statuses[0] == statuses[2] == "ok"
        assert statuses[1].startswith("failed: its process was killed by signal 9 (short of memory?) (pid ")
    begun, ended = journal(tmp_path)
    assert sorted(begun.values()) == [1, 1, 2]
    assert list(ended.values()) == [1, 1]
    assert codes(stub(tmp_path, 0, 0, 1, "seed=0,1,2")) == ["0"]


def test_what_runs_elsewhere_is_left_and_the_exit_code_is_three(tmp_path, make_point):
    elsewhere = make_point("seed=1")
    elsewhere.directory.mkdir(parents=True)
    with locked(elsewhere.directory / LOCK):
        done = stub(elsewhere.results_dir, 0, 0, 1, *TINY, "seed=0,1")
    assert codes(done) == ["3"]
    assert "1 of 2 points are left to the processes that run them" in done.stderr
    assert f"seed=1: running elsewhere: pid {os.getpid()} " in done.stderr
    begun, ended = journal(elsewhere.results_dir)
    assert len(begun) == sum(ended.values()) == 1
    assert codes(stub(elsewhere.results_dir, 0, 0, 1, *TINY, "seed=0,1")) == ["0"]


def test_of_a_launchers_process_that_was_killed_the_sweep_writes_the_row(make_point, capsys):
    points = [make_point("seed=0"), make_point("seed=1")]
    for point in points:
        if (pid := os.fork()) == 0:
            try:
                claim(point, lambda lock: os.kill(os.getpid(), signal.SIGKILL))
            finally:
                os._exit(1)
        os.waitpid(pid, 0)
        assert read_status(point).kind == "killed"
        (point.directory / LEFT).write_bytes(b"a network without a row")
    statuses = [read_status(point) for point in points]
    assert summarise(points, statuses, {points[0].id: "no row: the launcher's reason"}, {}) == FAILED
    status = read_result(points[0].directory / "result.json").status
    assert status.startswith("failed: its process was killed (pid ")
    assert read_status(points[0]).kind == "failed"
    assert [(point.directory / LEFT).exists() for point in points] == [False, True]
    assert read_status(points[1]).kind == "killed", "another sweep's: whoever runs it again says so"
    err = capsys.readouterr().err
    assert "1 of 2 points failed" in err
    assert "1 of 2 points were not run" in err
    assert "seed=0: failed: its process was killed" in err


def test_a_run_without_a_good_row_leaves_no_network_of_an_earlier_one_that_was_killed(make_point):
    point = make_point("method=reference", "network.hidden=[8]", "schedule.reference.learning_rate=1e30")
    point.directory.mkdir(parents=True)
    (point.directory / LEFT).write_bytes(b"a network without a row")
    assert run_point(point).status.startswith("diverged")
    assert not (point.directory / LEFT).exists()
