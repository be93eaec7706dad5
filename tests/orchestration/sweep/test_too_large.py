"""A network that is too large to be built fails by name, with a row, and the other points of the sweep run."""

from __future__ import annotations

from evaluation.result import read_result
from tests.orchestration.sweep.test_faults import codes, stub

AXES = ("network.hidden=[16],[8],[4]", "seed=0,1")


def test_the_others_run_and_each_of_its_points_has_a_row(tmp_path):
    done = stub(tmp_path, 0, 0, 1, *AXES, STUB_TOO_LARGE="[8]")
    assert codes(done) == ["1"]
    assert "2 of 6 points failed" in done.stderr
    assert "its check was killed: it was killed by signal 9 (short of memory?)" in done.stderr
    assert "Traceback" not in done.stderr
    rows = [read_result(path) for path in tmp_path.rglob("result.json")]
    failed = [row for row in rows if not row.is_ok]
    assert len(rows) == 6
    assert {str(row.config["network"]["hidden"]) for row in failed} == {"[8]"} and len(failed) == 2
    assert all(row.status.startswith("failed: its check was killed") for row in failed)


def test_a_plan_names_it_and_runs_nothing(tmp_path):
    done = stub(tmp_path, 0, 0, 1, *AXES, "plan=true", STUB_TOO_LARGE="[8]")
    assert codes(done) == ["1"]
    assert "its check was killed" in done.stdout
    assert "error: refused before anything ran" in done.stderr
    assert not list(tmp_path.rglob("result.json"))


def test_with_fail_fast_nothing_runs_after_it(tmp_path):
    done = stub(tmp_path, 0, 0, 1, *AXES, "fail_fast=true", STUB_TOO_LARGE="[8]")
    assert codes(done) == ["1"]
    assert not [path for path in tmp_path.rglob("result.json") if read_result(path).is_ok]
