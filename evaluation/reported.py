"""A number that a paper reports, next to the experiment that is to reproduce it, and how that number is known.

Torch-free: experiment files (`conf/experiment/<paper>/<row>.yaml`) are checked against it before anything is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, MinLen


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
