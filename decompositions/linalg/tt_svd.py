"""The tensor train [Ose11] as mathematics: errors of all ranks, cores, and the ranks that pay.

    X(i_1, …, i_d) ≈ G_1(i_1) G_2(i_2) … G_d(i_d),   G_k(i_k) of r_{k−1} × r_k, r_0 = r_d = 1

With t_k(r) the energy of the k-th unfolding (modes 1 … k × k+1 … d) beyond rank r,

    max_k t_k(r_k) ≤ ‖X − TT‖² ≤ Σ_k t_k(r_k)

The bound is a sum over bonds and the parameters `Σ r_{k−1} n_k r_k` are a sum over neighbouring bonds, so dynamic
programming along the chain minimises `parameters + θ · bound` exactly; doing so at the slopes between the points found
[ES76] visits the lower convex hull of all rank tuples, of which there are far too many to list. For the tuples found,
`linalg.tt_bound` has a bound that is nearer to the error.

[Ose11] Oseledets, Tensor-train decomposition, SIAM J. Scientific Computing 2011.
[ES76] Eisner & Severance, Mathematical techniques for efficient record segmentation in large databases, JACM 1976.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from decompositions.linalg.multiples import rounded_up
from decompositions.linalg.spectrum import eigh, gram

MAX_POINTS = 256
# Every rank up to this one is tried, larger ones at steps of a twentieth.
DENSE_RANKS = 64


def bond_limits(sizes: Sequence[int]) -> list[int]:
    """Return the largest rank of each of the d − 1 bonds.

    >>> bond_limits([4, 6, 8])
    [4, 8]
    """
    return [min(math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(1, len(sizes))]


def unfolding_spectra(tensor: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the squared singular values of the d − 1 unfoldings of a float64 tensor, falling, and bases.

    They are the eigenvalues of Gram matrices of the smaller sides. The bases are those of the bonds whose smaller side
    is the left one, and of the first whose smaller side is the right one.
    """
    energies, bases = [], []
    for k in range(1, tensor.ndim):
        matrix = tensor.reshape(math.prod(tensor.shape[:k]), -1)
        if k == 1 or math.prod(tensor.shape[: k - 1]) ** 2 <= tensor.numel():
            energy, basis = eigh(gram(matrix))
            bases.append(basis)
        else:
            energy = torch.linalg.eigvalsh(gram(matrix)).flip(0).clamp(min=0)
        energies.append(energy)
    return energies, bases


def tt_svd(tensor: Tensor, ranks: Sequence[int], bases: Sequence[Tensor]) -> list[Tensor]:
    """Return cores `(r_{k−1}, n_k, r_k)` of a float64 tensor at these bond ranks, from the smaller side of unfoldings.

    `bases` are those that `unfolding_spectra` returns; they serve until the first bond that drops something. All cores
    but the last are orthonormal; the error is at most the sum of the energies beyond `ranks`. TensorLy's `tensor_train`
    is the reference of the tests: as exact, but by full SVDs of the larger side.
    """
    cores: list[Tensor] = []
    rest, before, known = tensor, 1, True
    for k, (size, rank) in enumerate(zip(tensor.shape[:-1], ranks, strict=True)):
        matrix = rest.reshape(before * size, -1)
        on_the_left = matrix.shape[0] <= matrix.shape[1]
        if not known:
            basis = eigh(gram(matrix))[1]
        elif cores and on_the_left:  # the cores so far have turned the rows
            turn = contract(cores).reshape(before, before)
            basis = (turn.T @ bases[k].reshape(before, -1)).reshape(before * size, -1)
        else:
            basis = bases[k]
        basis = basis[:, :rank]
        known = known and on_the_left and rank == matrix.shape[0]
        if not on_the_left:  # from the smaller side: the image of its eigenvectors, made orthonormal
            basis = torch.linalg.qr(matrix @ basis)[0]
        cores.append(basis.reshape(before, size, rank))
        rest, before = basis.T @ matrix, rank
    return [*cores, rest.reshape(before, tensor.shape[-1], 1)]


def contract(cores: Sequence[Tensor]) -> Tensor:
    """Contract cores `(r_{k−1}, n_k, r_k)` to their tensor; outer ranks other than 1 stay as first and last mode."""
    result = cores[0]
    for core in cores[1:]:
        result = torch.tensordot(result, core, dims=1)
    return result


def hull(
    sizes: Sequence[int], tails: Sequence[np.ndarray], min_rank: int, max_params: int, multiple_of: int = 1
) -> list[tuple[int, ...]]:
    """Return the bond ranks on the lower convex hull of (parameters, error bound), from few parameters to many.

    `tails[k][r]` is the energy of bond k beyond rank r. At most `MAX_POINTS` points, those that fill the widest gaps
    first; chains of more than `max_params` parameters are not refined. Ranks are multiples of `multiple_of`.
    """
    candidates = [_candidates(max(min_rank, 1), len(tail) - 1, multiple_of) for tail in tails]
    if any(len(c) == 0 for c in candidates):
        return []

    def solve(theta: float) -> tuple[int, float, tuple[int, ...]]:
        """Minimise parameters + θ · bound over all chains: forward over the bonds, back along the choices."""
        best = sizes[0] * candidates[0] + theta * tails[0][candidates[0]]
        choices = []
        for k in range(1, len(candidates)):
            before, after = candidates[k - 1][:, None], candidates[k][None, :]
            # A core is a matrix from either side: no bond is larger than its neighbour times the mode between them.
            possible = (after <= sizes[k] * before) & (before <= sizes[k] * after)
            table = np.where(possible, best[:, None] + sizes[k] * before * after, np.inf)
            choices.append(table.argmin(axis=0))
            best = table.min(axis=0) + theta * tails[k][candidates[k]]
        index = int((best + sizes[-1] * candidates[-1]).argmin())
        indices = [index]
        for choice in reversed(choices):
            indices.append(int(choice[indices[-1]]))
        ranks = tuple(int(c[i]) for c, i in zip(candidates, reversed(indices), strict=True))
        bound = sum(float(tail[rank]) for tail, rank in zip(tails, ranks, strict=True))
        return num_params(sizes, ranks), bound, ranks

    total = max(float(tail[0]) for tail in tails)
    if total == 0:
        return [solve(0.0)[2]]
    ends = [solve(0.0), solve(1e18 / total)]
    points = {end[2]: end for end in ends}
    gaps = [_gap(*ends)]
    while gaps and len(points) < MAX_POINTS:
        _, theta, left, right = heapq.heappop(gaps)
        if left[0] > max_params or right[0] <= left[0] or left[1] <= right[1]:
            continue
        found = solve(theta)
        better = found[0] + theta * found[1] < (left[0] + theta * left[1]) * (1 - 1e-12)
        if better and found[2] not in points:
            points[found[2]] = found
            for pair in ((left, found), (found, right)):
                heapq.heappush(gaps, _gap(*pair))
    return [ranks for _, _, ranks in sorted(points.values())]


def num_params(sizes: Sequence[int], ranks: Sequence[int]) -> int:
    """Count the parameters of a train: `Σ r_{k−1} n_k r_k`.

    >>> num_params([4, 6, 8], [2, 3])
    68
    """
    return sum(a * size * b for a, size, b in zip((1, *ranks), sizes, (*ranks, 1), strict=True))


def _candidates(low: int, high: int, step: int) -> np.ndarray:
    ranks = list(range(low, min(high, DENSE_RANKS) + 1))
    while ranks and ranks[-1] < high:
        ranks.append(min(high, math.ceil(ranks[-1] * 1.05)))
    return np.array(rounded_up(ranks, low, high, step), dtype=np.int64)


Point = tuple[int, float, tuple[int, ...]]


def _gap(left: Point, right: Point) -> tuple[float, float, Point, Point]:
    """Return two neighbours as an entry of the heap, widest first, with the θ at which both are equally good."""
    fall, rise = left[1] - right[1], right[0] - left[0]
    return -fall * rise, rise / fall if fall > 0 else 0.0, left, right
