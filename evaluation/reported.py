"""A number that a paper reports, how it is known, and whether our runs come as near as the experiment's file asks.

Torch-free: experiment files (`conf/experiment/<paper>/<row>.yaml`) are checked against it before anything is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, MinLen

from evaluation.result import Result
from evaluation.statistics import mean


@dataclass(frozen=True)
class Reported:
    """One row of a published table.

    `source` is the paper, `place` the table, figure or file in it, `provenance` how the number is known (the paper's
    own text, its authors' README, digitised from a figure, a third party). `tolerance_points` is how far the mean
    accuracy of ours may lie below it to count as reproduced. `differs` says where our experiment is not the paper's,
    `reconstruction` that the paper's text was not at hand. `cost` estimates what a run takes.
    """

    source: Annotated[str, MinLen(1)]
    place: Annotated[str, MinLen(1)]
    provenance: Annotated[str, MinLen(1)]
    cost: Annotated[str, MinLen(1)]
    tolerance_points: Annotated[float, Gt(0), Le(100)]
    top1_percent: Annotated[float, Ge(0), Le(100)] | None = None
    num_params: Annotated[float, Gt(0)] | None = None
    macs: Annotated[float, Gt(0)] | None = None
    params_ratio: Annotated[float, Gt(0)] | None = None
    macs_ratio: Annotated[float, Gt(0)] | None = None
    reconstruction: bool = False
    differs: str | None = None


# A published row counts as reproduced, or not, from so many seeds on.
MIN_SEEDS = 3
HEADER = [
    "row",
    "reported top-1 [%]",
    "known from",
    "ours [%]",
    "ours, short schedule [%]",
    "fewer parameters",
    "verdict",
]


def reported_row(name: str, reported: Reported, published: Sequence[Result], short: Sequence[Result]) -> list[str]:
    """One line of the table reported against ours; `short` runs are shown, but decide nothing."""
    name = f"{name} (reconstruction)" if reported.reconstruction else name
    ratio = "" if reported.params_ratio is None else f"{reported.params_ratio:g} reported"
    ours = [
        r.reference.num_params / r.compressed.num_params for r in published or short if r.reference and r.compressed
    ]
    ratio = ", ".join(part for part in (ratio, f"{mean(ours).value:.2f} ours" if ours else "") if part)
    return [
        name,
        "–" if reported.top1_percent is None else f"{reported.top1_percent:g}",
        reported.provenance,
        _top1(published),
        _top1(short),
        ratio,
        verdict(reported, published),
    ]


def verdict(reported: Reported, results: Sequence[Result]) -> str:
    """ "reproduced" if the mean accuracy is at most the tolerance below the reported one; it may be above."""
    found = [r.compressed.test_top1_percent for r in results if r.is_ok and r.compressed]
    if not found:
        return "not run"
    if len(found) < MIN_SEEDS or reported.top1_percent is None:
        return f"too few seeds ({len(found)})" if len(found) < MIN_SEEDS else "no accuracy reported"
    close = mean(found).value >= reported.top1_percent - reported.tolerance_points
    return "reproduced" if close else "not reproduced"


def _top1(results: Sequence[Result]) -> str:
    found = [r.compressed.test_top1_percent for r in results if r.is_ok and r.compressed]
    if not found:
        return "–"
    average = mean(found)
    spread = f" ± {average.half_width:.2f}" if average.half_width > 0 else ""
    return f"{average.value:.2f}{spread} (n={len(found)})"
