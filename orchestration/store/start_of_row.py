"""What network did a finished row start from? A row is taken only if it is the one that would start today.

A file of weights (`network.weights`) has a digest, which a plan can afford. What the code of a user's network does, and
reads, only building it tells: the process of a point does that, and a plan says that it will.

Rows of earlier releases do not say what they started from, and are taken.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evaluation.result import Result
from orchestration.config.options import kind_of
from orchestration.config.point import Point
from orchestration.config.signatures import canonical
from runtime.digest import digest_file

# The keys of a row's signature.
WEIGHTS, UNTRAINED = "weights", "untrained"


def weights_digest(point: Point) -> str | None:
    """Return the digest of the file behind `network.weights`; None if that is none, or a name of torchvision's."""
    weights = point.config["network"].get("weights")
    path = Path(weights).expanduser() if isinstance(weights, str) else None
    return digest_file(path) if path is not None and path.is_file() else None


def has_own_code(point: Point) -> bool:
    """Return True if the network is built by code of the user's, which may have changed without any option."""
    target = canonical(point.config["network"]["_target_"])
    return "target" in point.config["network"] or kind_of(target) is None


def is_checked_by_building(point: Point, row: Result) -> bool:
    """Return True if only building the network tells whether the finished `row` started from it."""
    return has_own_code(point) and UNTRAINED in row.signature


def why_stale(point: Point, row: Result, untrained: Callable[[], str] | None = None) -> str:
    """Return why the finished `row` started from another network than the point would today; "" if it did not.

    `untrained` builds the network and returns its digest; it is called where nothing else tells. A file of weights that
    is gone has not changed.
    """
    stored, found = row.signature.get(WEIGHTS), weights_digest(point) if WEIGHTS in row.signature else None
    if found is not None and found != stored:
        return f"the file of network.weights has changed since (digest {stored}, now {found})"
    if untrained is None or not is_checked_by_building(point, row):
        return ""
    now, before = untrained(), row.signature[UNTRAINED]
    return "" if now == before else f"what builds its network has changed since (digest {before}, now {now})"
