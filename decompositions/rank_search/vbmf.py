"""Ranks by empirical variational Bayes: how many singular values stand out of the noise [NSBT13], as [KPYCYS16] use it.

For a matrix with sides L ≤ M and singular values s_h, α = L/M, the noise variance σ² minimises in closed form

    Σ_{x_h > x̄} [x_h − τ(x_h) + log((τ(x_h) + 1)/x_h) + α log(τ(x_h)/α + 1)] + Σ_{x_h ≤ x̄} (x_h − log x_h)
    x_h = s_h²/(M σ²),   τ(x) = (x − 1 − α + √((x − 1 − α)² − 4α))/2,   x̄ = (1 + τ̄)(1 + α/τ̄),   τ̄ ≈ 2.5129 √α

and the rank is the number of x_h above x̄. Only the singular values are read, one set for each mode of the format.
Differs from [NSBT13]: directions without energy (below 1e-12 of the largest) are no noise of variance 0, but are left
out of the sum; and the minimum is searched over log σ². The published code's minimiser stops within 1e-5 of a σ², which
at the scale of weights is anywhere. `weakening` w is MUSCO's [GKPOC19]: R − w (R − R_vbmf), rounded down, R being the
full rank.

[NSBT13] Nakajima, Sugiyama, Babacan & Tomioka, Global analytic solution of fully-observed variational Bayesian matrix
    factorization, JMLR 2013.
[KPYCYS16] Kim et al., Compression of deep CNNs for fast and low power mobile applications, ICLR 2016.
[GKPOC19] Gusak et al., MUSCO: Multi-stage compression of neural networks, ICCV workshops 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from scipy.optimize import minimize_scalar

from decompositions.core.frontier import Rank, Unfolding, as_rank
from decompositions.rank_search.rule import RankChoice, RankProblem
from runtime.identity import AsBefore


@dataclass(frozen=True)
class VBMF:
    """Give every mode the rank that stands out of its noise, within the allowed ranks; `weakening` 1 is plain VBMF.

    A rank that is no multiple of `multiple_of` becomes the next larger one: nothing that stands out is lost.
    """

    weakening: Annotated[float, Gt(0), Le(1)] = 1.0
    multiple_of: Annotated[int, Ge(1), AsBefore(1)] = 1

    def __call__(self, problem: RankProblem) -> RankChoice:
        """Estimate each mode's rank; raises `ValueError` for a format that has no spectrum to read."""
        ranks: dict[str, Rank | None] = {}
        for name, frontier in problem.frontiers.items():
            if len(frontier.unfoldings) != len(frontier.allowed):
                raise ValueError(
                    f"rank: vbmf reads the singular values of every mode, which the format of layer {name} has not; "
                    "take decomposition=svd, tucker2 or tucker, or another rank rule"
                )
            modes: list[int] = []
            for unfolding, (low, high) in zip(frontier.unfoldings, frontier.allowed, strict=True):
                full, estimate = min(unfolding.shape), evbmf_rank(unfolding)
                if full == 1 and float(unfolding.energy.sum()) > 0:
                    estimate = 1  # a single singular value is neither above nor below any noise: the other modes decide
                weakened = math.floor(full - self.weakening * (full - estimate) + 1e-9)
                modes.append(min(max(weakened, low), high))
            modes = frontier.rounded(modes, up=True)
            possible = all(low <= high for low, high in frontier.allowed)
            # Nothing is left of a weight of which one mode vanishes.
            ranks[name] = as_rank([0] * len(modes) if 0 in modes else modes) if possible else None
        how = "" if self.weakening == 1 else f", weakened by {self.weakening:g}"
        return RankChoice(ranks, f"singular values above the noise of empirical variational Bayes{how}")


def evbmf_rank(unfolding: Unfolding) -> int:
    """Count the singular values of a matrix that stand out of noise of unknown variance [NSBT13, theorem 2]."""
    energy = unfolding.energy.double().cpu().numpy()
    small, large = sorted(unfolding.shape)
    peak = float(energy.max(initial=0.0))
    if peak <= 0:
        return 0
    energy = energy[: min(small, len(energy))] / peak
    energy = energy[energy > 1e-12]  # what is left below is rounding: neither signal nor noise
    alpha = small / large
    tau_bar = 2.5129 * math.sqrt(alpha)
    x_bar = (1 + tau_bar) * (1 + alpha / tau_bar)

    def free_energy(log_variance: float) -> float:
        variance = math.exp(log_variance)
        x = energy / (large * variance)
        signal, noise = x[x > x_bar], x[x <= x_bar]
        tau = (signal - 1 - alpha + np.sqrt((signal - 1 - alpha) ** 2 - 4 * alpha)) / 2
        kept = signal - tau + np.log((tau + 1) / signal) + alpha * np.log(tau / alpha + 1)
        return float(kept.sum() + (noise - np.log(noise)).sum() + (small - len(energy)) * log_variance)

    # The variance explains at most everything, and at least what cannot be signal [NSBT13, lemma 4].
    first_noise = min(math.ceil(small / (1 + alpha)) - 1, len(energy)) - 1
    tail = energy[first_noise + 1 :] if first_noise + 1 < len(energy) else energy[-1:]
    upper = float(energy.sum()) / (small * large)
    lower = min(max(float(tail[0]) / (large * x_bar), float(tail.mean()) / large), upper)
    # Several valleys are possible: the best of a coarse grid, refined between its neighbours.
    grid = np.linspace(math.log(lower), math.log(upper), 65)
    best = int(np.argmin([free_energy(point) for point in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    log_variance = grid[best]
    if bounds[0] < bounds[1]:
        refined = minimize_scalar(free_energy, bounds=bounds, method="bounded")
        log_variance = min(float(refined.x), log_variance, key=free_energy)
    return int((energy > large * math.exp(log_variance) * x_bar).sum())
