"""Where a point stands, as its directory tells it: done, failed, killed, run by another process, or none of these.

Torch-free, and nothing is written: a plan of thousands of points asks this of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.result import Result, read_result
from orchestration.config.cluster import is_joining
from orchestration.config.point import Point
from orchestration.store.point_files import LOCK, ROW, finished, has_other_root
from runtime.file_lock import owner_of

IN_LABEL = ("seed=", "dataset=", "network=", "method=")
Kind = Literal[
    "done", "other place", "running elsewhere", "killed", "failed", "diverged", "interrupted", "to be run again", "new"
]


@dataclass(frozen=True)
class PointStatus:
    """What is known of a point: `row` if it is done; `why` says who runs it, or how it ended.

    Of a row whose data lay in an "other place" only who reads both can say whether it is this point's.
    """

    kind: Kind
    why: str = ""
    row: Result | None = None

    @property
    def is_pending(self) -> bool:
        """Whether a sweep runs the point: it is not done, and nobody else is at it."""
        return self.kind not in ("done", "running elsewhere")

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}" if self.why else self.kind


def read_status(point: Point) -> PointStatus:
    """Look into the directory of a point; with force=true a row that is there does not count."""
    if not point.config["force"] and (row := finished(point)) is not None:
        return (
            PointStatus("other place", "its data lay elsewhere", row)
            if has_other_root(point)
            else PointStatus("done", row=row)
        )
    if is_joining(point.config["trainer"].get("num_nodes", 1)):  # node 0 holds the lock for all nodes
        return PointStatus("new")
    owner, is_alive = owner_of(point.directory / LOCK)
    if is_alive:
        return PointStatus("running elsewhere", str(owner))
    if owner is not None:
        return PointStatus("killed", str(owner))
    if point.config["force"] and finished(point) is not None:
        return PointStatus("to be run again")
    try:
        status = read_result(point.directory / ROW).status
    except ValueError:
        return PointStatus("new")
    kind, _, why = status.partition(": ")
    return PointStatus(kind, why) if kind in ("failed", "diverged", "interrupted") else PointStatus("new")  # type: ignore


def varied_overrides(points: Sequence[Point]) -> list[str]:
    """Of each point the overrides that not all points of its sweep share, and its label does not say, in brackets."""
    shared = set.intersection(*(set(point.overrides) for point in points))
    own = [[o for o in point.overrides if o not in shared and not o.startswith(IN_LABEL)] for point in points]
    return [f" [{' '.join(overrides)}]" if overrides else "" for overrides in own]
