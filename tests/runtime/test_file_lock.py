"""One owner at a time, on one machine and as seen from another; one process takes over a dead owner's lock."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime import file_lock, lock_record
from runtime.file_lock import DEAD_AFTER_SECONDS, Held, locked, owner_of
from runtime.lock_record import read_record, remove_record
from runtime.process import ProcessId
from runtime.signals import Interrupted, interrupt_between_batches
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from runtime.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def write(path, **changes):
    owner = dataclasses.replace(ProcessId.this_process(), **changes)
    path.write_text(json.dumps(dataclasses.asdict(owner)))
    return owner


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.fixture
def holder(tmp_path):
    path = tmp_path / ".lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process, path
    process.kill()
    process.wait()


def test_it_is_held_once_and_leaves_nothing(tmp_path):
    path = tmp_path / ".lock"
    with locked(path) as lock:
        assert lock.is_ours()
        assert owner_of(path) == (lock.owner, True)
        with pytest.raises(Held, match=f"pid {os.getpid()} on "), locked(path):
            pass
    assert not list(tmp_path.iterdir())


def test_a_killed_owners_lock_is_taken_over_at_once(holder):
    process, path = holder
    with pytest.raises(Held, match=f"pid {process.pid} on "), locked(path):
        pass
    process.kill()
    process.wait()
    with locked(path) as lock:
        assert lock.previous.pid == process.pid
    assert not list(path.parent.iterdir())


def test_a_stopped_process_on_this_machine_is_not_dead(holder):
    process, path = holder
    process.send_signal(signal.SIGSTOP)
    age(path, 10 * DEAD_AFTER_SECONDS)
    with pytest.raises(Held), locked(path):
        pass
    process.send_signal(signal.SIGCONT)


def test_another_process_under_the_same_number_is_not_the_owner(tmp_path):
    write(tmp_path / ".lock", born="1")
    assert not owner_of(tmp_path / ".lock")[1]


def test_from_another_machine_the_heartbeat_counts_by_the_clock_of_the_file_system(tmp_path, monkeypatch):
    """The clock of this machine may be wrong by hours: it is not read."""
    path = tmp_path / ".lock"
    write(path, place="elsewhere", pid=1)
    monkeypatch.setattr(time, "time", lambda: 1e12)
    with pytest.raises(Held), locked(path):
        pass
    monkeypatch.undo()
    age(path, DEAD_AFTER_SECONDS + 1)
    with locked(path) as lock:
        assert lock.previous.place == "elsewhere"


def test_heartbeats_are_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "HEARTBEAT_SECONDS", 0.02)
    path = tmp_path / ".lock"
    with locked(path):
        age(path, 1000)
        deadline = time.time() + 20
        while time.time() - path.stat().st_mtime > 500 and time.time() < deadline:
            time.sleep(0.02)
        assert time.time() - path.stat().st_mtime < 500


def test_an_owner_taken_for_dead_neither_renews_nor_removes_the_new_owners_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "HEARTBEAT_SECONDS", 0.01)
    path = tmp_path / ".lock"
    with locked(path) as lock:
        new = write(path, place="elsewhere", pid=7)
        age(path, 50)
        time.sleep(0.1)
        assert not lock.is_ours()
        assert time.time() - path.stat().st_mtime > 40
    assert owner_of(path) == (new, True)


def test_a_file_that_is_no_lock_ages_like_one(tmp_path):
    path = tmp_path / ".lock"
    path.write_text("{")
    with pytest.raises(Held, match="unknown host"), locked(path):
        pass
    age(path, DEAD_AFTER_SECONDS + 1)
    with locked(path):
        pass


def test_without_hard_links_it_is_made_exclusively(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / ".lock"
    with locked(path), pytest.raises(Held), locked(path):
        pass
    assert not list(tmp_path.iterdir())


def test_waiting_says_so_and_ends_with_the_owner(holder):
    process, path = holder
    said = []

    def waiting(line):
        said.append(line)
        process.kill()

    with locked(path, waiting):
        assert len(said) == 1
        assert f"pid {process.pid} on" in said[0]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_record_is_removed_by_its_owner_alone(tmp_path, monkeypatch, has_links):
    path = tmp_path / ".lock"
    other, me = write(path), ProcessId.this_process()
    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    assert not remove_record(path, me)
    assert read_record(path) == other
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]
    assert remove_record(path, other)
    assert not remove_record(path, other)
    assert not list(tmp_path.iterdir())


def no_links(*names):
    raise OSError(errno.EPERM, "Operation not permitted")


def test_who_stood_still_takes_no_lock_of_another(tmp_path, monkeypatch):
    """Between its last look and its next step: when it takes a dead owner's lock, and when it gives its own back."""
    path, real = tmp_path / ".lock", file_lock.remove_record

    def another_is_first(where, owner):
        if where == path:
            others.append(write(path, place="elsewhere"))
        return real(where, owner)

    others: list[ProcessId] = []
    write(path, pid=2**22 - 1, born="1")
    with monkeypatch.context() as patched:
        patched.setattr(file_lock, "remove_record", another_is_first)
        with pytest.raises(Held), locked(path):
            pass
        assert read_record(path) == others[0]
        path.unlink()
        with locked(path):
            pass
        assert read_record(path) == others[1]
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]


RACE = """
import os, sys, time
from pathlib import Path
from runtime.file_lock import Held, locked
path, log = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(60):
    try:
        with locked(path):
            inside = path.with_name("inside")
            descriptor = os.open(inside, os.O_CREAT | os.O_EXCL)  # raises if another is inside
            os.close(descriptor)
            inside.unlink()
            with log.open("a") as file:
                file.write("x")
            if os.getpid() % 3 == 0:
                os._exit(0)  # dies with the lock
    except Held:
        time.sleep(0.001)
"""


def test_of_many_that_find_a_dead_owner_one_at_a_time_is_inside(tmp_path):
    """Eight processes, some of which die while they hold it."""
    path, log = tmp_path / ".lock", tmp_path / "log"
    write(path, pid=2**22 - 1, born="1")
    command = [sys.executable, "-c", RACE, str(path), str(log)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(8)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    assert log.stat().st_size > 8
    with locked(path):
        pass


def test_a_full_disk_keeps_no_lock(tmp_path, monkeypatch):
    """To release one a file is written, for which there may be no room."""

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with locked(tmp_path / ".lock"):
        monkeypatch.setattr(lock_record, "write_candidate", full)
    assert not list(tmp_path.iterdir())


def test_waiting_for_a_lock_can_be_interrupted(holder):
    _, path = holder
    said = []

    def told(line):
        said.append(line)
        signal.raise_signal(signal.SIGTERM)

    began = time.monotonic()
    with pytest.raises(Interrupted), interrupt_between_batches(), locked(path, told):
        raise AssertionError("it is held by another process")
    assert len(said) == 1 and "waiting for another process" in said[0]
    assert time.monotonic() - began < 20


def test_a_process_that_is_hidden_is_alive(monkeypatch):
    """/proc may show a user his own processes alone (hidepid)."""
    owner = ProcessId.this_process()

    def refuse(*arguments, **options):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert owner.is_alive
    assert not dataclasses.replace(owner, pid=2**22 + 1).is_alive
