"""Minimise cost plus error, layer by layer: the rank selection of the C step [IC20].

    r_l = argmin_r  λ C_l(r) + μ/2 ‖A_l − Θ_l(r)‖²

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
The dense layer, with its own cost and no error, is one of the choices where the problem has it; in [IC20] it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge

from decompositions.rank_search.rule import RankChoice, RankProblem
from runtime.identity import AsBefore


@dataclass(frozen=True)
class Cost:
    """`weight` is λ, in units of the loss per parameter or multiply-add (`of`).

    With `relative` the cost is the share of the uncompressed network's, so that one λ serves networks of all sizes;
    without, it is the plain count, as in [IC20].
    """

    weight: Annotated[float, Ge(0)]
    of: Literal["params", "macs"] = "macs"
    relative: bool = True
    multiple_of: Annotated[int, Ge(1), AsBefore(1)] = 1

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Take the smallest sum of each frontier; of equal ones the cheapest."""
        unit = problem.dense_cost(self.of) if self.relative else 1.0
        points = {
            name: int(torch.argmin(self.weight * f.cost(self.of) / unit + problem.penalty / 2 * f.squared_error))
            for name, f in problem.frontiers.items()
        }
        share = f" per share of {unit:.0f} {self.of}" if self.relative else f" per {self.of}"
        reason = f"least cost plus error, lambda {self.weight:g}{share}, mu {problem.penalty:g}"
        return RankChoice.of_points(problem, points, reason)
