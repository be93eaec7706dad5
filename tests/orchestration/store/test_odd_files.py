"""Odd files in the folder of a point are moved aside and the point is computed again; other points do not notice."""

from __future__ import annotations

import json
import os
import random
import time
import zipfile

import pytest

from evaluation.result import Result, read_result
from orchestration.errors import ConfigError
from orchestration.store.claim import claim
from orchestration.store.owned_files import CONFIG, LOCK, NETWORK, ROW
from orchestration.store.point_files import FILES, finished, new_row
from orchestration.store.status import read_status
from orchestration.sweep.plan import make_plan, print_plan
from runtime.file_lock import DEAD_AFTER_SECONDS
from runtime.zip_records import records_digest
from tests.damage import damaged, text_of, torn
from tests.made_rows import measure
from tests.orchestration.sweep.test_faults import codes, stub


@pytest.fixture
def point(make_point):
    return make_point()


def work(own) -> Result:
    own.begin()
    with zipfile.ZipFile(own.pending_network, "w") as file:
        file.writestr("weights", "w")
    row = new_row(own.point, "split") | {"reference": measure(), "compressed": measure()}
    row["network_digest"] = records_digest(own.pending_network)
    return own.publish(Result(**row, status="ok", seconds=0.0, environment={}))


def refused(own) -> Result:
    raise AssertionError("it is done")


def tree(folder):
    return {path.relative_to(folder): path.lstat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def make_odd(path, how):
    path.parent.mkdir(parents=True, exist_ok=True)
    if how == "folder":
        path.mkdir()
        (path / "x").touch()
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("how", ["folder", "pipe"])
@pytest.mark.parametrize("name", FILES)
def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_moved_aside(point, name, how, capsys):
    make_odd(point.directory / name, how)
    assert read_status(point).is_pending
    assert claim(point, work).is_ok
    assert (point.directory / f"{name}.unusable").exists()
    assert f"{name}.unusable, and computed again" in capsys.readouterr().out
    assert claim(point, refused).is_ok


def test_a_row_that_cannot_be_read_is_moved_aside_and_a_second_one_too(point, capsys):
    for number in ("", ".2"):
        claim(point, work)
        (point.directory / ROW).write_text("{")
        assert read_status(point).kind == "new"
        claim(point, work)
        assert (point.directory / f"{ROW}.unusable{number}").read_text() == "{"
    assert "not a readable result" in capsys.readouterr().out
    assert claim(point, refused).is_ok


def test_a_row_of_a_failed_run_is_no_odd_file(point):
    claim(point, work)
    row = json.loads((point.directory / ROW).read_text()) | {"status": "failed: no memory"}
    (point.directory / ROW).write_text(json.dumps(row))
    claim(point, work)
    assert not list(point.directory.glob("*.unusable*"))


@pytest.mark.parametrize("text", ["dataset:\n  root: " + "[" * 5000 + "\n", "dataset:\n  root: *nobody\n", "\udcff"])
def test_a_configuration_that_cannot_be_read_leaves_the_data_to_be_compared(make_point, text):
    point = make_point("dataset=mnist")
    claim(point, work)
    (point.directory / CONFIG).write_bytes(text.encode(errors="surrogateescape"))
    assert read_status(point).kind == "other place"


def test_damaged_rows_are_computed_again(point):
    """150 damaged rows: whatever is there, the point is done afterwards, and nothing lies outside its folder."""
    claim(point, work)
    whole = json.loads((point.directory / ROW).read_text())
    for seed in range(150):
        draw = random.Random(seed)
        text = text_of(damaged(draw, whole)).encode("utf-8", "surrogatepass")
        (point.directory / ROW).write_bytes(torn(draw, text) if draw.random() < 0.3 else text)
        read_status(point)
        claim(point, work)
        assert finished(point) is not None, seed
        read_result(point.directory / ROW)
    assert {path.parent for path in point.results_dir.rglob("*") if path.is_file()} == {point.directory}


def test_an_unreadable_folder_is_that_points_alone(point, monkeypatch):
    """As of somebody else's; who runs the tests may be root, to whom all is readable."""

    def refuse(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    point.directory.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr("runtime.plain_file.os.open", refuse)
        patch.setattr("runtime.lock_record.os.open", refuse)
        patch.setattr("pathlib.Path.stat", refuse)
        assert read_status(point).is_pending
    with monkeypatch.context() as patch:
        patch.setattr("orchestration.store.point_files.NamedTemporaryFile", lambda dir: refuse(dir))
        with pytest.raises(ConfigError, match=r"cannot write to .*Permission denied"):
            claim(point, work)


def test_a_plan_writes_nothing(make_point, tmp_path, capsys):
    """Not even a file whose time is compared with the heartbeat of another machine's lock: the share is read-only."""
    points = [make_point(f"seed={seed}", "plan=true") for seed in range(4)]
    claim(points[0], work)
    (points[0].directory / NETWORK).unlink()
    points[1].directory.mkdir()
    (points[1].directory / ROW).write_text("{")
    record = {"host": "h", "place": "elsewhere", "pid": 7, "born": "1", "start": "now", "token": "t"}
    for point, seconds in ((points[2], 0.0), (points[3], DEAD_AFTER_SECONDS + 1)):
        point.directory.mkdir()
        (point.directory / LOCK).write_text(json.dumps(record))
        os.utime(point.directory / LOCK, (time.time() - seconds,) * 2)
    before = tree(tmp_path)
    statuses = [read_status(point) for point in points]
    print_plan(make_plan(points, statuses))
    assert [status.kind for status in statuses] == ["to be run again", "new", "running elsewhere", "killed"]
    assert tree(tmp_path) == before


def test_one_points_folder_does_not_stop_the_others(make_point, tmp_path):
    """A file in the place of a folder is that point's failure; odd files inside another's cost it one run more."""
    points = [make_point(f"seed={seed}", tiny=False) for seed in range(3)]
    points[0].directory.parent.mkdir(parents=True)
    points[0].directory.write_text("in the way")
    for name in (ROW, NETWORK, LOCK, CONFIG):
        (points[1].directory / name).mkdir(parents=True)
    os.utime(points[1].directory / LOCK, (1, 1))
    done = stub(points[0].results_dir, 0, 0, 1, "seed=0,1,2")
    assert codes(done) == ["1"]
    assert "a file is in the place of a folder" in done.stderr
    assert "1 of 3 points failed" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert [finished(point) is not None for point in points] == [False, True, True]
