"""A number that a paper reports, how it is known, and whether our runs come as near as the experiment's file asks.

Torch-free: experiment files (`conf/experiment/<paper>/<row>.yaml`) are checked against it before anything is imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, MinLen

from evaluation.result import Result
from evaluation.statistics import Mean, mean


@dataclass(frozen=True)
class Reported:
    """One row of a published table.

    `source` is the paper, `place` the table, figure or file in it, `provenance` how the number is known (the paper's
    own text, its authors' README, digitised from a figure, a third party). `tolerance_points` is how far the mean
    accuracy of ours may lie below it to count as reproduced, `tolerance_size_percent` how much larger (or, of ratios,
    less compressed) the network may be than each size that is reported; a top-5 accuracy is shown and decides nothing.
    `differs` says where our experiment is not the paper's, `reconstruction` that the paper's text was not at hand.
    `cost` estimates what a run takes.
    """

    source: Annotated[str, MinLen(1)]
    place: Annotated[str, MinLen(1)]
    provenance: Annotated[str, MinLen(1)]
    cost: Annotated[str, MinLen(1)]
    tolerance_points: Annotated[float, Gt(0), Le(100)]
    tolerance_size_percent: Annotated[float, Ge(0)] = 10.0
    top1_percent: Annotated[float, Ge(0), Le(100)] | None = None
    top5_percent: Annotated[float, Ge(0), Le(100)] | None = None
    num_params: Annotated[float, Gt(0)] | None = None
    macs: Annotated[float, Gt(0)] | None = None
    params_ratio: Annotated[float, Gt(0)] | None = None
    macs_ratio: Annotated[float, Gt(0)] | None = None
    reconstruction: bool = False
    differs: str | None = None


# A published row counts as reproduced, or not, from so many seeds on.
MIN_SEEDS = 3


def verdict(reported: Reported, results: Sequence[Result]) -> str:
    """ "reproduced" if the mean accuracy is at most the tolerance below the reported one, and the network as small."""
    if not results:
        return "not run"
    if failed := sum(not result.is_ok for result in results):
        return f"{failed} of {len(results)} runs failed"
    if len(results) < MIN_SEEDS:
        return f"too few seeds ({len(results)})"
    if reported.top1_percent is None:
        return "no accuracy reported"
    far = [name for name, theirs, ours in sizes(reported, results) if not _as_small(name, theirs, ours, reported)]
    if far:
        return f"not reproduced: {', '.join(far)}"
    close = mean_top1(results).value >= reported.top1_percent - reported.tolerance_points
    return "reproduced" if close else "not reproduced: accuracy"


def sizes(reported: Reported, results: Sequence[Result]) -> list[tuple[str, float, float]]:
    """Name, reported and mean value of ours, for every size that is reported; NaN where nothing was run."""
    pairs = [(r.reference, r.compressed) for r in results if r.is_ok and r.reference and r.compressed]
    ours: dict[str, list[float]] = {
        "num_params": [c.num_params for _, c in pairs],
        "macs": [c.macs for _, c in pairs],
        "params_ratio": [r.num_params / c.num_params for r, c in pairs],
        "macs_ratio": [r.macs / c.macs for r, c in pairs],
    }
    known = {name: getattr(reported, name) for name in ours}
    return [(n, known[n], mean(v).value if v else math.nan) for n, v in ours.items() if known[n] is not None]


def _as_small(name: str, theirs: float, ours: float, reported: Reported) -> bool:
    """Whether ours is at most the tolerance larger; smaller is better."""
    excess = theirs / ours if name.endswith("ratio") else ours / theirs
    return excess <= 1 + reported.tolerance_size_percent / 100


def mean_top1(results: Sequence[Result]) -> Mean:
    """Mean test accuracy in percent of the runs that are ok."""
    return mean([r.compressed.test_top1_percent for r in results if r.is_ok and r.compressed])
