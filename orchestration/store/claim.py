"""The claim on a point: one process at a time runs it, under a lock, unless it has been finished meanwhile.

Torch-free, so that a finished point costs milliseconds.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from evaluation.result import Result
from orchestration.config.point import Point
from orchestration.errors import ConfigError, RunsElsewhere
from orchestration.store.point_files import LOCK, begin_run, finished, has_other_root, require_writable, store_row
from runtime.console import say
from runtime.file_lock import Held, Lock, locked

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Claim:
    """The right to run `point`: its lock, and whether a good row stays until there is a better one (force=true)."""

    point: Point
    lock: Lock
    keeps_row: bool

    def begin(self) -> None:
        """Write the configuration of a run down, in the place of what an earlier one left."""
        begin_run(self.point, keeps_row=self.keeps_row)

    def require_ours(self) -> None:
        """Raise `RunsElsewhere` if this process lost its lock: it stood still for minutes and was taken for dead."""
        if not (self.lock.is_ours() and self.lock.owner.is_alive):  # of several processes the owner is their parent
            raise RunsElsewhere(f"{self.point.label}: taken over by another process, whose row counts")

    def publish(self, result: Result) -> Result:
        """Store the row of a run; return the row that is kept: this one, or an earlier one if only that one is ok."""
        self.require_ours()
        stored = store_row(self.point, result)
        if stored is None:
            say(f"{self.point.label}: the earlier row is kept")
        self.say_failure(result)
        return stored or result

    def say_failure(self, result: Result) -> None:
        """Print the status of a run that is not ok; of several processes, their parent does, which knows why."""
        from runtime.distributed import group  # torch: whoever has run a point has loaded it

        if not result.is_ok and group().size == 1:
            say(f"{self.point.label} ({self.point.id}): {result.status}")


def claim(point: Point, work: Callable[[Claim], Result], fingerprint: Callable[[], str] | None = None) -> Result:
    """Hold the lock of `point` and return what `work` returns, or the row of a point that has been finished meanwhile.

    `fingerprint` returns that of the point's data, and is called where a finished row may be of other data.

    Raises `RunsElsewhere` if another process holds the lock, and `ConfigError` where nothing can be written, or where
    the row that is there is of other data under the same name.
    """
    require_writable(point.directory)
    try:
        with locked(point.directory / LOCK) as lock:
            row = finished(point)
            if row is not None and not point.config["force"]:
                if fingerprint is not None and has_other_root(point):
                    _require_same_data(point, row, fingerprint())
                return taken(point, row)
            if lock.previous is not None:
                say(f"{point.label}: the run of {lock.previous} was killed")
            return work(Claim(point, lock, keeps_row=row is not None))
    except Held as held:
        raise RunsElsewhere(f"{point.label}: running elsewhere: {held}") from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise ConfigError(
            f"{point.label}: cannot write to {point.directory}: {error.strerror}; make room and type the same command"
        ) from None


def taken(point: Point, row: Result) -> Result:
    """Print that the finished `row` of a point is taken, and where it differs from what was asked; return it."""
    say(f"{point.label}: taken from {point.directory} (force=true runs it anew)")
    if row.tags != point.config["tags"]:
        say(f"{point.label}: its row keeps its tags {row.tags}")
    if point.config["num_threads"] not in (None, measured := row.environment.get("num_threads")):
        say(f"{point.label}: its latencies were measured with num_threads={measured}")
    asked = {"cpu": "cpu", "gpu": "cuda"}.get(point.config["trainer"].get("accelerator"))
    if asked is not None and asked != (device := row.environment.get("device_type", asked)):
        say(f"{point.label}: its latencies were measured on a device of the kind {device}")
    return row


def _require_same_data(point: Point, row: Result, fingerprint: str) -> None:
    if fingerprint != (stored := row.signature.get("data")):
        raise ConfigError(
            f"{point.label}: {point.directory} is of other data (fingerprint {stored}, these have {fingerprint}); give "
            "them a name of their own, dataset.name=…, or take another results_dir"
        )
