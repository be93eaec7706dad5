"""A layer's frontier: every rank worth having, with its parameters, multiply-adds and squared error.

One factorisation gives the error of all ranks (see the formats), so that choosing a rank is looking up a table. The
dense layer is the last point of a frontier, with error 0: a rank rule can decide not to factorise. Where a layer has to
stay factorised, the frontier has every rank instead, those too that are larger than the dense layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from decompositions.linalg.multiples import is_multiple, limits

Rank = int | tuple[int, ...]
# A large set of points is put into so many bins of cost before it is sorted.
NUM_BINS = 4096


@dataclass(frozen=True)
class Unfolding:
    """The squared singular values, in falling order, of a weight as the matrix `(rows, columns)` of one mode."""

    energy: Float64[Tensor, " value"]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Frontier:
    """The useful ranks of a layer, in order of rising parameters; the dense layer, if it is a point, is the last.

    `ranks` has one column for each mode, and -1 for the dense layer. `num_params` and `macs` count the whole layer,
    bias included, `dense_params` and `dense_macs` the dense one. `squared_error` is `‖W − Ŵ_r‖²` or a bound on it,
    `squared_norm` is `‖W‖²`. `allowed` has the smallest and largest rank of each mode, whether or not the layer is then
    smaller than the dense one; between them the multiples of `multiple_of` are allowed (see `linalg.multiples`).
    `unfoldings` has one for each mode, for the rules that read the spectrum itself; it is empty if the format has none.

    >>> from decompositions.core.site import survey
    >>> from decompositions.svd import SVD
    >>> site = survey(torch.nn.Sequential(torch.nn.Linear(6, 4)), (6,)).sites["0"]
    >>> frontier = SVD().analyse(torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.0, 0.0, 0.0]))[:4]).frontier(site)
    >>> [frontier.rank(point) for point in range(len(frontier))]  # rank 3 would be larger than the dense layer
    [1, 2, None]
    >>> frontier.num_params.tolist(), [round(error, 6) for error in frontier.squared_error.tolist()]
    ([14, 24, 28], [5.0, 1.0, 0.0])
    """

    ranks: Int64[Tensor, "point mode"]
    num_params: Int64[Tensor, " point"]
    macs: Int64[Tensor, " point"]
    squared_error: Float64[Tensor, " point"]
    squared_norm: float
    allowed: tuple[tuple[int, int], ...]
    dense_params: int
    dense_macs: int
    unfoldings: tuple[Unfolding, ...] = ()
    multiple_of: int = 1

    def __len__(self) -> int:
        return len(self.num_params)

    def rank(self, index: int) -> Rank | None:
        """Return the rank of one point: an int, a tuple of ints, or None for the dense layer."""
        rank = self.ranks[index].tolist()
        return None if rank[0] < 0 else as_rank(rank)

    def allows(self, modes: Sequence[int]) -> bool:
        """Return True if these are allowed ranks, one for each mode."""
        return len(modes) == len(self.allowed) and all(
            low <= rank <= high and is_multiple(rank, high, self.multiple_of)
            for rank, (low, high) in zip(modes, self.allowed, strict=True)
        )

    def rounded(self, modes: Sequence[int], *, up: bool) -> list[int]:
        """Return ranks between the `allowed` ones, each as it is or as the next multiple below it, or above it."""
        step = self.multiple_of
        found = [-(-rank // step) * step if up else rank - rank % step for rank in modes]
        pairs = zip(modes, found, self.allowed, strict=True)
        return [rank if is_multiple(rank, high, step) else min(max(r, low), high) for rank, r, (low, high) in pairs]

    @property
    def limits(self) -> str:
        """Say which ranks are allowed: "1 to 5 and 1 to 7", "8 to 16 in multiples of 8"."""
        step = f" in multiples of {self.multiple_of}" if self.multiple_of > 1 else ""
        return " and ".join(f"{low} to {high}" for low, high in self.allowed) + step

    def cost(self, of: str) -> Float64[Tensor, " point"]:
        """Return the cost of each point; `of` is "params" or "macs"."""
        return (self.num_params if of == "params" else self.macs).double()

    def dense_cost(self, of: str) -> int:
        """Return the cost of the dense layer; `of` is "params" or "macs"."""
        return self.dense_params if of == "params" else self.dense_macs

    def up_to_dense(self, *, and_least_error: bool = False) -> Frontier:
        """Return the points that are no larger than the dense layer, or the smallest one where all are larger.

        Larger points are there only where the layer stays factorised until the end, and there it is left dense in their
        place. So they buy nothing that the dense layer does not give. `and_least_error` keeps the last of them, at the
        dense layer's cost.
        """
        last = max(1, int((self.num_params <= self.dense_params).sum()))
        kept = [*range(last), *([len(self) - 1] if and_least_error and last < len(self) else [])]
        points = ("ranks", "num_params", "macs", "squared_error")
        found = replace(self, **{name: getattr(self, name)[kept] for name in points})
        if len(kept) == last:
            return found
        found.num_params[-1], found.macs[-1] = self.dense_params, self.dense_macs
        return found

    def normalized(self) -> Frontier:
        """Return the frontier with errors as shares of the weight's squared norm; a zero weight's is unchanged."""
        norm = self.squared_norm
        return replace(self, squared_error=self.squared_error / norm, squared_norm=1.0) if norm > 0 else self


def as_rank(modes: Sequence[int]) -> Rank:
    """Return the rank of a single mode as an int, those of several as a tuple."""
    return modes[0] if len(modes) == 1 else tuple(modes)


def as_modes(rank: Rank) -> Int64[Tensor, "1 mode"]:
    """Undo `as_rank`: return the rank as the one row that `Format.count` takes."""
    return torch.tensor([[rank] if isinstance(rank, int) else list(rank)])


def pareto_frontier(
    ranks: Int64[Tensor, "rank mode"],
    num_params: Int64[Tensor, " rank"],
    macs: Int64[Tensor, " rank"],
    squared_error: Float64[Tensor, " rank"],
    *,
    dense_params: int,
    dense_macs: int,
    squared_norm: float,
    min_rank: int = 1,
    dense: bool = True,
    unfoldings: tuple[Unfolding, ...] = (),
    largest: Sequence[int] | None = None,
    multiple_of: int = 1,
) -> Frontier:
    """Keep the points with fewer parameters than the dense layer that no other beats in error and parameters, or in
    error and multiply-adds.

    The dense layer is added as the last point. With `dense=False` it is not, and points of any size are kept; it is the
    only point where no other is left. Points below `min_rank` in any mode are dropped, and those that are no
    multiples of `multiple_of`. `largest` is the largest rank of each mode, if that is not among the points given.

    >>> ranks, params, errors = torch.tensor([[1], [2], [3]]), torch.tensor([10, 20, 30]), torch.tensor([4.0, 4.0, 1.0])
    >>> found = pareto_frontier(
    ...     ranks, params, params, errors.double(), dense_params=40, dense_macs=40, squared_norm=9.0
    ... )
    >>> [found.rank(point) for point in range(len(found))]  # rank 2 costs more than rank 1 and is no better
    [1, 3, None]
    """
    allowed = tuple(limits(min_rank, high, multiple_of) for high in largest or ranks.amax(dim=0).tolist())
    fits = ((num_params < dense_params) | (not dense)) & (ranks >= min_rank).all(dim=1)
    if multiple_of > 1:
        fits &= ((ranks % multiple_of == 0) | (ranks == ranks.new_tensor(allowed)[:, 1])).all(dim=1)
    useful = fits.nonzero()[:, 0]
    error = squared_error[useful].clamp(min=0)
    by_macs = _undominated(macs[useful], error)
    if dense:
        by_macs &= macs[useful] < dense_macs  # else the dense layer is better
    kept = _undominated(num_params[useful], error) | by_macs
    order = useful[kept]
    order = order[torch.argsort(macs[order], stable=True)]
    order = order[torch.argsort(num_params[order], stable=True)]
    last = int(dense or len(order) == 0)  # how many points the dense layer is
    return Frontier(
        ranks=torch.cat([ranks[order], ranks.new_full((last, ranks.shape[1]), -1)]),
        num_params=torch.cat([num_params[order], num_params.new_full((last,), dense_params)]),
        macs=torch.cat([macs[order], macs.new_full((last,), dense_macs)]),
        squared_error=torch.cat([squared_error[order].clamp(min=0), squared_error.new_zeros(last)]),
        squared_norm=squared_norm,
        allowed=allowed,
        dense_params=dense_params,
        dense_macs=dense_macs,
        unfoldings=unfoldings,
        multiple_of=multiple_of,
    )


def _undominated(cost: Int64[Tensor, " point"], error: Float64[Tensor, " point"]) -> Bool[Tensor, " point"]:
    """Return True for each point with a smaller error than all that are cheaper or of equal cost."""
    kept = torch.zeros_like(error, dtype=torch.bool)
    left = _sieved(cost, error)
    cost, error = cost[left], error[left]
    order = torch.argsort(error, stable=True)
    order = order[torch.argsort(cost[order], stable=True)]
    sorted_error = error[order]
    best_before = torch.cat([error.new_full((1,), torch.inf), sorted_error.cummin(0).values[:-1]])[: len(error)]
    kept[left[order]] = sorted_error < best_before
    return kept


def _sieved(cost: Int64[Tensor, " point"], error: Float64[Tensor, " point"]) -> Int64[Tensor, " left"]:
    """Return the points no worse than the best of all cheaper bins of cost: sorting those few is fast."""
    if len(cost) < NUM_BINS:
        return torch.arange(len(cost), device=cost.device)
    low, high = cost.min(), cost.max()
    bins = (cost - low) * (NUM_BINS - 1) // (high - low).clamp(min=1)
    best = error.new_full((NUM_BINS,), torch.inf).scatter_reduce(0, bins, error, "amin").cummin(0).values
    before = torch.cat([best.new_full((1,), torch.inf), best[:-1]])
    return (error < before[bins]).nonzero()[:, 0]
