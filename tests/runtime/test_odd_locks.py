"""Whatever lies in the place of a lock, it blocks nobody for good, and nothing is written beside it."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import time

import pytest

from runtime.file_lock import DEAD_AFTER_SECONDS, Held, locked, owner_of
from runtime.lock_record import UNKNOWN, read_record
from runtime.process import ProcessId
from tests.damage import damaged, text_of, torn

HOUR = 3600.0


def record(**changes) -> str:
    return json.dumps(dataclasses.asdict(ProcessId.this_process()) | changes)


def age(path, seconds=DEAD_AFTER_SECONDS + 1):
    then = time.time() - seconds
    os.utime(path, (then, then))


ODD = {
    "pid is text": record(pid="7"),
    "pid is null": record(pid=None),
    "pid is a fraction": record(pid=1.5),
    "pid 0 is a group": record(pid=0, born="unknown"),
    "pid -1 is everybody": record(pid=-1, born="unknown"),
    "pid is true": record(pid=True),
    "pid is large": record(pid=10**40),
    "token has NUL": record(token="a\0b"),
    "token leads out": record(token="../../x"),
    "token is empty": record(token=""),
    "token is long": record(token="x" * 300),
    "host clears the screen": record(host="\x1b[2J"),
    "place is a list": record(place=["here"]),
    "deep": "[" * 100_000,
    "no record": '"x"',
    "a list": "[1, 2]",
    "one key more": record(more=1),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_record_is_of_nobody_known_and_ages(tmp_path, name):
    folder = tmp_path / "point"
    folder.mkdir()
    path = folder / ".lock"
    path.write_text(ODD[name])
    assert read_record(path) == UNKNOWN
    with pytest.raises(Held), locked(path):
        pass
    age(path)
    with locked(path) as lock:
        assert lock.is_ours()
    assert list(tmp_path.iterdir()) == [folder]
    assert list(folder.iterdir()) == []


def test_a_lock_of_the_future_is_nobodys(tmp_path):
    """No heartbeat has such a time: it would keep the lock for as long."""
    path = tmp_path / ".lock"
    path.write_text(record(place="elsewhere"))
    age(path, -DEAD_AFTER_SECONDS / 2)  # two clocks may differ
    assert owner_of(path)[1]
    age(path, -HOUR)
    assert not owner_of(path)[1]
    with locked(path) as lock:
        assert lock.previous.place == "elsewhere"


@pytest.mark.parametrize("with_content", [False, True])
def test_a_folder_in_the_place_of_a_lock_is_moved_aside(tmp_path, with_content):
    path = tmp_path / ".lock"
    path.mkdir()
    if with_content:
        (path / "x").touch()
    with pytest.raises(Held), locked(path):
        pass
    age(path)
    with locked(path) as lock:
        assert lock.is_ours()
    assert [p.name for p in tmp_path.iterdir()] == [".lock.unusable"]


def test_a_pipe_in_the_place_of_a_lock_is_waited_for_by_nobody(tmp_path):
    path = tmp_path / ".lock"
    os.mkfifo(path)
    age(path)
    with locked(path) as lock:
        assert lock.is_ours()


def test_who_may_not_write_looks_at_the_time_of_this_machine(tmp_path):
    path = tmp_path / ".lock"
    path.write_text(record(place="elsewhere"))
    before = tmp_path.stat().st_mtime_ns
    assert owner_of(path, writes=False)[1]
    age(path)
    assert not owner_of(path, writes=False)[1]
    assert tmp_path.stat().st_mtime_ns == before


def test_damaged_locks_are_taken_over_once_they_are_old(tmp_path):
    """300 damaged records: no other error than `Held`, nothing outside, nothing for good."""
    whole = record(place="elsewhere", pid=7)
    for seed in range(300):
        draw = random.Random(seed)
        folder = tmp_path / str(seed) / "point"
        folder.mkdir(parents=True)
        path = folder / ".lock"
        is_torn = draw.random() < 0.3
        text = text_of(damaged(draw, json.loads(whole))).encode("utf-8", "surrogatepass")
        path.write_bytes(torn(draw, whole.encode()) if is_torn else text)
        age(path)
        with locked(path) as lock:
            assert lock.is_ours()
        assert list(folder.parent.iterdir()) == [folder], seed
        assert list(folder.iterdir()) == [], seed
