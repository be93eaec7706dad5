"""One attempt at a point: taken from disk if it is done, left alone if another process runs it, else run and locked.

Torch-free, so that a finished point costs milliseconds.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from evaluation.result import Result
from orchestration.config.point import Point
from orchestration.errors import ConfigError, RunsElsewhere
from orchestration.store.point_files import LOCK, finished, has_other_root, require_writable
from orchestration.store.status import read_status
from runtime.console import say
from runtime.file_lock import Held, Lock, locked

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def taken(point: Point) -> Result | None:
    """The finished row of a point, which is said; None if it is to be run. Raises `RunsElsewhere`."""
    now = read_status(point)
    if now.kind == "running elsewhere":
        raise RunsElsewhere(f"{point.label}: {now}")
    return _said(point, now.row) if now.row is not None and now.kind == "done" else None


def attempt(point: Point, work: Callable[[Lock], Result], fingerprint: Callable[[], str] | None = None) -> Result:
    """Hold the point's lock and let `work` run it, unless it has been finished meanwhile.

    Raises `RunsElsewhere`, and `ConfigError` in one line where nothing can be written, and where the row that is there
    is of other data under the same name; `fingerprint` tells what the point's are.
    """
    require_writable(point.directory)
    try:
        with locked(point.directory / LOCK) as lock:
            if not point.config["force"] and (done := finished(point)) is not None:
                if fingerprint is not None and has_other_root(point):
                    _require_same(point, done, fingerprint())
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


def _require_same(point: Point, done: Result, fingerprint: str) -> None:
    if fingerprint != (then := done.signature.get("data")):
        raise ConfigError(
            f"{point.label}: {point.directory} is of other data (fingerprint {then}, these have {fingerprint}); give "
            "them a name of their own, dataset.name=…, or take another results_dir"
        )


def _said(point: Point, result: Result) -> Result:
    say(f"{point.label}: taken from {point.directory} (force=true runs it anew)")
    if result.tags != point.config["tags"]:
        say(f"{point.label}: its row keeps its tags {result.tags}")
    if point.config["num_threads"] not in (None, measured := result.environment.get("num_threads")):
        say(f"{point.label}: its latencies were measured with num_threads={measured}")
    return result
