"""The claim on a point: one process at a time runs it, under a lock, unless it has been finished meanwhile.

Torch-free, so that a finished point costs milliseconds.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.result import Result
from orchestration.config.point import Point
from orchestration.errors import ConfigError, RunsElsewhere
from orchestration.store.owned_files import LOCK, NETWORK, OwnedFiles
from orchestration.store.point_files import (
    begin_run,
    finished_or_refused,
    has_other_root,
    require_writable,
    set_aside_odd,
    store_row,
)
from orchestration.store.start_of_row import why_stale
from runtime.console import say
from runtime.file_lock import Held, Lock, locked
from runtime.process import UNKNOWN

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Claim:
    """The right to run `point`: its lock, and whether a good row stays until there is a better one (force=true)."""

    point: Point
    lock: Lock
    keeps_row: bool

    @property
    def pending_network(self) -> Path:
        """Return where the network of a run is kept until its row is stored."""
        return self._files.pending(NETWORK)

    def begin(self) -> None:
        """Write the configuration of a run down, in the place of what an earlier one left."""
        with self._stopping_if_lost():
            begin_run(self.point, self._files, keeps_row=self.keeps_row)

    def require_ours(self) -> None:
        """Raise `RunsElsewhere` if this process lost its lock: it stood still for minutes and was taken for dead."""
        if not (self.lock.is_ours() and self.lock.owner.is_alive):  # of several processes the owner is their parent
            raise RunsElsewhere(f"{self.point.label}: taken over by another process, whose row counts")

    def store(self, result: Result) -> Result | None:
        """Store the row of a run; return None if an earlier row is kept instead."""
        self.require_ours()
        with self._stopping_if_lost():
            return store_row(self.point, self._files, result)

    def publish(self, result: Result) -> Result:
        """Store the row of a run; return the row that is kept: this one, or an earlier one if only that one is ok."""
        stored = self.store(result)
        if stored is None:
            say(f"{self.point.label}: the earlier row is kept")
        self.say_failure(result)
        return stored or result

    @property
    def _files(self) -> OwnedFiles:
        return OwnedFiles(self.point.directory, self.lock.owner.token, self.require_ours)

    @contextmanager
    def _stopping_if_lost(self) -> Iterator[None]:
        """Raise `RunsElsewhere` where a file is missing that the owner who took over has removed."""
        try:
            yield
        except (FileNotFoundError, ValueError):  # ValueError: a row that cannot be read
            self.require_ours()
            raise

    def say_failure(self, result: Result) -> None:
        """Print the status of a run that is not ok; of several processes, their parent does, which knows why."""
        from runtime.distributed import group  # torch: whoever has run a point has loaded it

        if not result.is_ok and group().size == 1:
            say(f"{self.point.label} ({self.point.id}): {result.status}")


def claim(
    point: Point,
    work: Callable[[Claim], Result],
    fingerprint: Callable[[], str] | None = None,
    untrained: Callable[[], str] | None = None,
) -> Result:
    """Hold the lock of `point` and return what `work` returns, or the row of a point that has been finished meanwhile.

    `fingerprint` returns that of the point's data, and is called where a finished row may be of other data; `untrained`
    that of its network, where it may have started from another one: then it is not taken, and stays until there is a
    new one.

    Raises `RunsElsewhere` if another process holds the lock, and `ConfigError` where nothing can be written, or where
    the row that is there is of other data under the same name.
    """
    require_writable(point.directory)
    try:
        with locked(point.directory / LOCK) as lock:
            own = Claim(point, lock, keeps_row=False)
            own._files.clear_others()
            row, why = finished_or_refused(point)
            if why:
                say(f"{point.label}: runs again: {why}")
            if row is not None and not point.config["force"]:
                if fingerprint is not None and has_other_root(point):
                    _require_same_data(point, row, fingerprint())
                if not (why := why_stale(point, row, untrained)):
                    return taken(point, row)
                say(f"{point.label}: its row is not taken: {why}; it is run again")
            set_aside_odd(point)
            if lock.previous == UNKNOWN:
                say(f"{point.label}: a lock that cannot be read was removed")
            elif lock.previous is not None:
                say(f"{point.label}: the run of {lock.previous} was killed")
            try:
                return work(replace(own, keeps_row=row is not None))
            finally:
                own._files.clear_own()
    except Held as held:
        raise RunsElsewhere(f"{point.label}: running elsewhere: {held}") from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise ConfigError(
            f"{point.label}: cannot write to {point.directory}: {error.strerror}; make room, or make it writable, and "
            "type the same command"
        ) from None


def remove_dead_lock(point: Point) -> None:
    """Remove the lock of a finished point whose owner was killed after the row was written, if there is one.

    Nobody runs the point again, and so nobody takes the lock over.
    """
    path = point.directory / LOCK
    if path.exists():
        with suppress(Held, OSError), locked(path):  # taken over, and released
            pass


def taken(point: Point, row: Result) -> Result:
    """Print that the finished `row` of a point is taken, and where it differs from what was asked; return it."""
    say(f"{point.label}: taken from {point.directory} (force=true runs it anew)")
    if row.tags != point.written["tags"]:
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
