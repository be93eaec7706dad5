"""The one lock of this suite: a file that names its owner, and whose time is renewed while the owner lives.

It works on one machine and over a shared file system (see `lock_record`). A process that finds a dead owner takes the
lock over under a second lock, named by the dead owner's token, so that only one of many succeeds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.lock_record import (
    DEAD_AFTER_SECONDS,
    create_record,
    file_system_time,
    is_owner_alive,
    read_record,
    remove_record,
)
from runtime.plain_file import is_in_the_way
from runtime.process import ProcessId
from runtime.set_aside import set_aside
from runtime.signals import check_interrupted

HEARTBEAT_SECONDS = 10.0
POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 8.0  # a thousand processes may wait for one reference


class Held(Exception):
    """A living process holds the lock."""

    def __init__(self, owner: ProcessId | None) -> None:
        super().__init__(str(owner or "a process that has just begun or ended"))


@dataclass(frozen=True)
class Lock:
    """A lock that `owner`, this process, holds; `previous` is the dead owner from whom it was taken over."""

    path: Path
    owner: ProcessId
    previous: ProcessId | None = None

    def is_ours(self) -> bool:
        """Return False if another process took the lock over, as happens when this one was suspended for minutes."""
        return read_record(self.path) == self.owner


@contextmanager
def locked(path: Path, waiting: Callable[[str], None] | None = None) -> Iterator[Lock]:
    """Hold the lock at `path` inside the block.

    If a living process holds it, raise `Held`; or, with `waiting`, call that once with a line that names the owner, and
    wait. Raises `Interrupted` if this process is asked to end while it waits.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with locked(Path(folder) / ".lock") as lock:
    ...         lock.is_ours(), owner_of(lock.path) == (lock.owner, True)
    ...     owner_of(lock.path)
    (True, True)
    (None, False)
    """
    lock = _acquire(path) if waiting is None else _wait_and_acquire(path, waiting)
    stop = threading.Event()
    heartbeat = threading.Thread(target=_send_heartbeats, args=(lock, stop), daemon=True)
    heartbeat.start()
    try:
        yield lock
    finally:
        stop.set()
        heartbeat.join()
        _release(lock)


def owner_of(path: Path, *, writes: bool = True) -> tuple[ProcessId | None, bool]:
    """Return the process that holds the lock at `path`, or None, and whether it is alive.

    For an owner on another machine a file is written, whose time is compared; without `writes` nothing is, and the
    clock of this machine counts.
    """
    owner = read_record(path)
    return owner, owner is not None and is_owner_alive(path, owner, writes=writes)


def _wait_and_acquire(path: Path, waiting: Callable[[str], None]) -> Lock:
    has_told, pause = False, POLL_SECONDS
    while True:
        try:
            return _acquire(path)
        except Held as held:
            if not has_told:
                waiting(f"waiting for another process that holds {path} ({held})")
            has_told = True
        while owner_of(path)[1]:
            for _ in range(round(pause / POLL_SECONDS)):
                check_interrupted()
                time.sleep(POLL_SECONDS)
            pause = min(2 * pause, LONGEST_POLL_SECONDS)


def _acquire(path: Path) -> Lock:
    """Take the lock, also from a dead owner; raises `Held`."""
    me = ProcessId.this_process()
    if create_record(path, me):
        return Lock(path, me)
    owner = read_record(path)
    if owner is None or is_owner_alive(path, owner):
        raise Held(owner)
    with _right_to_remove(path, owner):
        if is_in_the_way(path):  # a folder, which no file replaces
            set_aside(path)
            if not create_record(path, me):
                raise Held(read_record(path))
        # Another process may take it over first, or take it in the moment when it is nobody's.
        elif read_record(path) != owner or not remove_record(path, owner) or not create_record(path, me):
            raise Held(read_record(path))
    for left_over in path.parent.glob(f".{path.name}.*"):  # of processes killed while they took the lock
        with suppress(OSError):
            if file_system_time(path) - left_over.stat().st_mtime > DEAD_AFTER_SECONDS:
                left_over.unlink()
    return Lock(path, me, owner)


def _release(lock: Lock) -> None:
    try:
        with _right_to_remove(lock.path, lock.owner):
            if lock.is_ours():
                remove_record(lock.path, lock.owner)
    except Held:
        pass
    except OSError:  # a full disk has no room for the second lock
        with suppress(OSError):
            if lock.is_ours():
                remove_record(lock.path, lock.owner)


@contextmanager
def _right_to_remove(path: Path, owner: ProcessId) -> Iterator[None]:
    """Hold the only right to remove `owner`'s lock: itself a lock, which can be taken over; raises `Held`."""
    right = _acquire(path.with_name(f".{path.name}.{owner.token}"))
    try:
        yield
    finally:
        remove_record(right.path, right.owner)


def _send_heartbeats(lock: Lock, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            if lock.is_ours():
                os.utime(lock.path)  # without a time, the server sets its own
