"""Numbers that a paper reports, how they are known, and whether our rows reproduce them.

The module imports no torch: experiment files (`conf/experiment/<paper>/<row>.yaml`) are checked against it at start-up.
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

    `source` is the paper, `place` the table, figure or file in it, and `provenance` how the number is known (the
    paper's own text, its authors' README, digitised from a figure, a third party). Our rows reproduce it if their mean
    accuracy is at most `tolerance_points` lower, and their network at most `tolerance_size_percent` larger (for ratios:
    less compressed) than each reported size. A top-5 accuracy is shown but decides nothing. `differs` says how our
    experiment differs from the paper's; `reconstruction` is true if the paper's text was not at hand. `cost` estimates
    the time of a run.
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


# With fewer seeds there is no verdict.
MIN_SEEDS = 3


def verdict(reported: Reported, results: Sequence[Result], short: Sequence[Result] = ()) -> str:
    """Return "reproduced", "not reproduced: …" and what failed, or why there is no verdict.

    Accuracy and sizes are means over `results`, compared within the tolerances of `reported`. Runs of a `short`ened
    schedule decide nothing: where there are no others, the verdict counts them.
    """
    if not results:
        num_ok = sum(result.is_ok for result in short)
        also = f", {len(short) - num_ok} failed" if num_ok < len(short) else ""
        return f"shortened schedule ({num_ok}{also})" if short else "not run"
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
    """Return the name, the reported value and our mean of every reported size; NaN where no result is ok."""
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
    """Return whether our size is at most the tolerance larger than theirs."""
    excess = theirs / ours if name.endswith("ratio") else ours / theirs
    return excess <= 1 + reported.tolerance_size_percent / 100


def mean_top1(results: Sequence[Result]) -> Mean:
    """Return the mean test accuracy in percent over the results that are ok."""
    return mean([r.compressed.test_top1_percent for r in results if r.is_ok and r.compressed])
