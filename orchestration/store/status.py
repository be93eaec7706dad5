"""The status of a point, read from its directory: done, failed, killed, run by another process, or new.

Torch-free: a plan reads the status of thousands of points, and with plan=true nothing is written. What is odd in the
folder of a point (unreadable rows, folders in the place of files) is that point's alone: it is to be run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.result import Result, read_result
from orchestration.config.cluster import is_joining
from orchestration.config.point import Point
from orchestration.store.owned_files import LOCK, ROW
from orchestration.store.point_files import finished_or_refused, has_other_root
from orchestration.store.start_of_row import is_checked_by_building, why_stale
from runtime.file_lock import owner_of

IN_LABEL = ("seed=", "dataset=", "network=", "method=")
Kind = Literal[
    "done",
    "other place",
    "to be checked",
    "changed",
    "running elsewhere",
    "killed",
    "failed",
    "diverged",
    "interrupted",
    "to be run again",
    "new",
]


@dataclass(frozen=True)
class PointStatus:
    """The kind of status; `row` if there is a finished one; `why` says who runs the point, or how it ended.

    "other place": the stored run used another dataset.root; only fingerprints tell whether the data match. "changed":
    it started from other weights. "to be checked": only building the network tells whether it did.
    """

    kind: Kind
    why: str = ""
    row: Result | None = None

    @property
    def is_pending(self) -> bool:
        """Return True if a sweep runs the point: it is not done, and no other process runs it."""
        return self.kind not in ("done", "running elsewhere")

    @property
    def is_to_run(self) -> bool:
        """Return True if a sweep is expected to compute the point, and not only to check its row."""
        return self.is_pending and self.kind != "to be checked"

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}" if self.why else self.kind


def read_status(point: Point) -> PointStatus:
    """Return the status of a point; with force=true a stored row does not count."""
    row, refused = finished_or_refused(point)
    if not point.config["force"] and row is not None:
        if why := why_stale(point, row):
            return PointStatus("changed", why, row)
        if has_other_root(point):
            return PointStatus("other place", "its data lay elsewhere", row)
        if is_checked_by_building(point, row):
            return PointStatus("to be checked", "your code builds its network", row)
        return PointStatus("done", row=row)
    if is_joining(point.config["trainer"].get("num_nodes", 1)):  # node 0 holds the lock for all nodes
        return PointStatus("new")
    owner, is_alive = owner_of(point.directory / LOCK, writes=not point.config["plan"])
    if is_alive:
        return PointStatus("running elsewhere", str(owner))
    if owner is not None:
        return PointStatus("killed", str(owner))
    if row is not None or refused:
        return PointStatus("to be run again", refused)
    try:
        status = read_result(point.directory / ROW).status
    except ValueError:
        return PointStatus("new")
    kind, _, why = status.partition(": ")
    return PointStatus(kind, why) if kind in ("failed", "diverged", "interrupted") else PointStatus("new")  # type: ignore


def varied_overrides(points: Sequence[Point]) -> list[str]:
    """Return for each point, in brackets, the overrides that not all points share and that are not in its label."""
    shared = set.intersection(*(set(point.overrides) for point in points))
    own = [[o for o in point.overrides if o not in shared and not o.startswith(IN_LABEL)] for point in points]
    return [f" [{' '.join(overrides)}]" if overrides else "" for overrides in own]
