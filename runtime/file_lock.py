"""The one lock of this suite: a file that names its owner and is touched while the owner lives.

It is right on one machine and over a shared file system. To make a hard link under the lock's name is one atomic step
on NFS too, and the file has its whole content from the first moment. On the owner's own machine its process is looked
up; from elsewhere its heartbeat counts, by the clock of the file system and of no machine. Who finds a dead owner takes
the lock over under a second lock, named by the dead one's token: of many finders one succeeds.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.process import UNKNOWN, ProcessId
from runtime.signals import check_interrupted

HEARTBEAT_SECONDS = 10.0
DEAD_AFTER_SECONDS = 120.0  # NFS may show a time that is a minute old
POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 8.0  # a thousand may wait for one reference
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Held(Exception):
    """A living process holds the lock."""

    def __init__(self, owner: ProcessId | None) -> None:
        super().__init__(str(owner or "a process that has just begun or ended"))


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds; `previous` is the dead owner whose lock it was."""

    path: Path
    owner: ProcessId
    previous: ProcessId | None = None

    def is_ours(self) -> bool:
        """Whether nobody has taken it over; that happens to a process that stood still, with its heart, for minutes."""
        return _read(self.path) == self.owner


@contextmanager
def locked(path: Path, waiting: Callable[[str], None] | None = None) -> Iterator[Lock]:
    """Hold the lock at `path`. If a living process holds it: raise `Held`, or tell `waiting` whose it is and wait.

    Raises `Interrupted` in a process that is asked to end while it waits.
    """
    lock = _acquired(path) if waiting is None else _waited_for(path, waiting)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(lock, stop), daemon=True)
    heart.start()
    try:
        yield lock
    finally:
        stop.set()
        heart.join()
        _release(lock)


def owner_of(path: Path) -> tuple[ProcessId | None, bool]:
    """Who holds the lock at `path`, if anybody, and whether that process is alive. It writes nothing on this machine's
    own locks."""
    owner = _read(path)
    return owner, owner is not None and _is_alive(path, owner)


def _waited_for(path: Path, waiting: Callable[[str], None]) -> Lock:
    said, pause = False, POLL_SECONDS
    while True:
        try:
            return _acquired(path)
        except Held as held:
            if not said:
                waiting(f"waiting for another process that holds {path} ({held})")
            said = True
        while owner_of(path)[1]:
            for _ in range(round(pause / POLL_SECONDS)):
                check_interrupted()
                time.sleep(POLL_SECONDS)
            pause = min(2 * pause, LONGEST_POLL_SECONDS)


def _acquired(path: Path) -> Lock:
    """Take the lock, a dead owner's too; raises `Held`."""
    me = ProcessId.this_process()
    if _put(path, me):
        return Lock(path, me)
    there = _read(path)
    if there is None or _is_alive(path, there):
        raise Held(there)
    with _guard(path, there):
        if (now := _read(path)) != there:  # another finder was faster
            raise Held(now)
        os.replace(_written(path, me), path)
    for rest in path.parent.glob(f".{path.name}.*"):  # killed while they took it
        with suppress(OSError):
            if _time_there(path) - rest.stat().st_mtime > DEAD_AFTER_SECONDS:
                rest.unlink()
    return Lock(path, me, there)


def _release(lock: Lock) -> None:
    try:
        with _guard(lock.path, lock.owner):
            if lock.is_ours():
                lock.path.unlink()
    except Held:
        pass
    except OSError:  # a full disk has no room for the guard
        with suppress(OSError):
            if lock.is_ours():
                lock.path.unlink()


@contextmanager
def _guard(path: Path, owner: ProcessId) -> Iterator[None]:
    """Alone have the right to take away what `owner` holds: a lock itself, and as mortal; raises `Held`."""
    guard = _acquired(path.with_name(f".{path.name}.{owner.token}"))
    try:
        yield
    finally:
        guard.path.unlink(missing_ok=True)


def _put(path: Path, owner: ProcessId) -> bool:
    """Whether the file was put there, whole, where there was none."""
    candidate = _written(path, owner)
    try:
        os.link(candidate, path)
        return True
    except FileExistsError:
        return candidate.stat().st_nlink == 2  # NFS may make the link and lose the answer
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:  # for a moment it is empty: `UNKNOWN`
            file.write(json.dumps(asdict(owner)))
            return True
        return False
    finally:
        candidate.unlink()


def _written(path: Path, owner: ProcessId) -> Path:
    candidate = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        candidate.write_text(json.dumps(asdict(owner)), encoding="utf-8")
    except OSError:
        candidate.unlink(missing_ok=True)
        raise
    return candidate


def _read(path: Path) -> ProcessId | None:
    try:
        return ProcessId(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError):
        return UNKNOWN


def _is_alive(path: Path, owner: ProcessId) -> bool:
    if owner.is_here:
        return owner.runs
    try:
        with path.open("rb") as file:  # an opened file makes NFS ask the server
            beaten = os.fstat(file.fileno()).st_mtime
        return _time_there(path) - beaten <= DEAD_AFTER_SECONDS
    except FileNotFoundError:
        return False


def _time_there(path: Path) -> float:
    """The time by the clock of the file system that holds `path`."""
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _beat(lock: Lock, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            if lock.is_ours():
                os.utime(lock.path)  # no time is given: the server takes its own
