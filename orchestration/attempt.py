"""One attempt at a point: taken from disk if it is done, left alone if another process runs it, else run and locked.

Torch-free, so that a finished point costs milliseconds.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from evaluation.result import Result
from lightning_modules.progress import say
from orchestration.lock import Held, Lock, locked
from orchestration.point import Point
from orchestration.row import LOCK, finished, require_writable
from orchestration.schema import ConfigError
from orchestration.standing import RunsElsewhere, standing

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def taken(point: Point) -> Result | None:
    """The finished row of a point, which is said; None if it is to be run. Raises `RunsElsewhere`."""
    now = standing(point)
    if now.kind == "running elsewhere":
        raise RunsElsewhere(f"{point.label}: {now}")
    return None if now.row is None else _said(point, now.row)


def attempt(point: Point, work: Callable[[Lock], Result]) -> Result:
    """Hold the point's lock and let `work` run it, unless it has been finished meanwhile.

    Raises `RunsElsewhere`, and `ConfigError` in one line where nothing can be written.
    """
    require_writable(point.directory)
    try:
        with locked(point.directory / LOCK) as lock:
            if not point.config["force"] and (done := finished(point)) is not None:
                return _said(point, done)
            if lock.previous is not None:
                say(f"{point.label}: the run of {lock.previous} was killed")
            return work(lock)
    except Held as held:
        raise RunsElsewhere(f"{point.label}: running elsewhere: {held}") from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ConfigError(
            f"{point.label}: cannot write to {point.directory}: {error.strerror}; make room and type the same command"
        ) from None


def _said(point: Point, result: Result) -> Result:
    say(f"{point.label}: taken from {point.directory} (force=true runs it anew)")
    if result.tags != point.config["tags"]:
        say(f"{point.label}: its row keeps its tags {result.tags}")
    if point.config["num_threads"] not in (None, measured := result.environment.get("num_threads")):
        say(f"{point.label}: its latencies were measured with num_threads={measured}")
    return result
