"""The CP decomposition as mathematics: alternating least squares, warm-started from rank to rank.

    X(t, s, k_1, k_2, …) ≈ Σ_r A(t, r) B(s, r) K_1(k_1, r) K_2(k_2, r) …

Each factor in turn is the least-squares solution for the others [CC70, Har70]. The first two modes (channels) are first
taken into the leading `rank` directions of their unfoldings, in which the sweeps cost next to nothing; a few sweeps on
the whole tensor follow, and more for a rank that is used (`polish`). A fit whose terms grow while they cancel each
other (degenerate [KHL89]) is not used: it is repeated with more and more damped normal equations, and if that does not
help the terms of the rank below stay.

TensorLy's `parafac` is the reference of the tests; it is not used because it neither compresses first nor starts from
a smaller rank (see benchmarks/decompositions.py for what that costs).

[CC70] Carroll & Chang, Analysis of individual differences in multidimensional scaling, Psychometrika 1970.
[Har70] Harshman, Foundations of the PARAFAC procedure, UCLA working papers in phonetics 1970.
[KHL89] Kruskal, Harshman & Lundy, How 3-MFA data can cause degenerate PARAFAC solutions, 1989.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from decompositions.linalg.spectrum import eigh

# Terms whose squared norms sum to more than this many times that of their sum cancel each other.
DEGENERATE = 100.0
DAMPINGS = (1e-12, 1e-6, 1e-4, 1e-2, 1e-1)
# Sweeps on the whole tensor before the next rank starts from a fit.
NUM_JOINING_SWEEPS = 3


def largest_rank(sizes: Sequence[int]) -> int:
    """Return the rank at which CP is exact for all tensors of these sizes: a term for each fibre of the longest."""
    return math.prod(sizes) // max(sizes)


def exact_fit(tensor: Tensor) -> list[Tensor]:
    """Return exact factors, of `largest_rank`: the fibres of the longest mode, and unit vectors for their places."""
    longest = max(range(tensor.ndim), key=lambda mode: tensor.shape[mode])
    others = [size for mode, size in enumerate(tensor.shape) if mode != longest]
    fibres = tensor.movedim(longest, 0).flatten(1)  # (longest, rank)
    places = torch.cartesian_prod(*(torch.arange(size) for size in others)).reshape(-1, len(others))
    factors = [torch.eye(size).to(tensor)[:, place] for size, place in zip(others, places.unbind(1), strict=True)]
    return [*factors[:longest], fibres, *factors[longest:]]


def fit(tensor: Tensor, rank: int, start: Sequence[Tensor], sweeps: int) -> list[Tensor]:
    """Fit factors `(size, rank)` to a float64 tensor of at least three modes, starting from factors of a smaller rank.

    New terms start at random numbers, which are the same for the same sizes and rank. A degenerate fit is reported as a
    `RuntimeWarning`.
    """
    generator = torch.Generator().manual_seed(rank)
    new = rank - start[0].shape[1]
    begun = [
        torch.cat([old, torch.randn(len(old), new, generator=generator, dtype=tensor.dtype).to(tensor)], dim=1)
        for old in start
    ]
    bases = [_leading(tensor, mode, rank) for mode in (0, 1)]
    core = torch.tensordot(bases[1].T, torch.tensordot(bases[0].T, tensor, dims=1).transpose(0, 1), dims=1)
    core = core.transpose(0, 1)  # (rank or less, rank or less, *kernel)
    for damping in DAMPINGS:
        factors = [bases[0].T @ begun[0], bases[1].T @ begun[1], *begun[2:]]
        factors = _sweep(core, factors, sweeps, damping)
        factors = [bases[0] @ factors[0], bases[1] @ factors[1], *factors[2:]]
        factors = _sweep(tensor, factors, NUM_JOINING_SWEEPS, damping)
        if not is_degenerate(factors):
            return factors
        warnings.warn(f"CP of rank {rank}: terms grow and cancel (degenerate); not used", RuntimeWarning, 2)
    return [torch.cat([old, old.new_zeros(len(old), new)], dim=1) for old in start]


def polish(tensor: Tensor, factors: list[Tensor], sweeps: int) -> list[Tensor]:
    """Refine factors by more sweeps on the whole tensor; return the old ones if the new are degenerate."""
    better = _sweep(tensor, list(factors), sweeps, DAMPINGS[0])
    return factors if is_degenerate(better) else better


def is_degenerate(factors: Sequence[Tensor]) -> bool:
    """Return True if the terms are much larger than their sum."""
    gram = _product([factor.T @ factor for factor in factors])
    return float(gram.diagonal().sum()) > DEGENERATE * max(float(gram.sum()), 0.0)


def to_tensor(factors: Sequence[Tensor]) -> Tensor:
    """Sum the terms: the tensor of the factors."""
    sizes = [len(factor) for factor in factors]
    return (factors[0] @ _khatri_rao(factors[1:]).T).reshape(sizes)


def balanced(factors: Sequence[Tensor]) -> list[Tensor]:
    """Share the norm of each term equally among its factors; a term of norm 0 becomes unit vectors times 0.

    >>> left, right = balanced([torch.tensor([[4.0]]), torch.tensor([[9.0]])])
    >>> round(left.item(), 4), round(right.item(), 4)
    (6.0, 6.0)
    """
    norms = torch.stack([factor.norm(dim=0) for factor in factors])  # (mode, rank)
    size = norms.prod(dim=0)
    alive = size > 1e-12 * size.amax() if len(size) else size > 0
    shared = torch.where(alive, size, torch.zeros_like(size)) ** (1 / len(factors))
    result = []
    for mode, factor in enumerate(factors):
        unit = torch.full_like(factor, len(factor) ** -0.5)
        dead = torch.zeros_like(factor) if mode == 0 else unit
        result.append(torch.where(alive, factor / norms[mode].clamp(min=1e-300) * shared, dead))
    return result


def _leading(tensor: Tensor, mode: int, rank: int) -> Tensor:
    """Return an orthonormal basis of the `rank` strongest directions of a mode."""
    unfolding = tensor.movedim(mode, 0).flatten(1)
    return eigh(unfolding @ unfolding.T)[1][:, :rank]


def _sweep(tensor: Tensor, factors: list[Tensor], sweeps: int, damping: float) -> list[Tensor]:
    """Solve for every factor in turn, `sweeps` times; the channels are contracted once each a sweep."""
    num_first, num_second = tensor.shape[:2]
    rows = tensor.reshape(num_first, -1)
    for _ in range(sweeps):
        grams = [factor.T @ factor for factor in factors]
        right = rows @ _khatri_rao(factors[1:])
        factors[0] = _solve(right, grams, 0, damping)
        grams[0] = factors[0].T @ factors[0]
        rest = (rows.T @ factors[0]).reshape(num_second, -1, right.shape[1])  # (second, kernel, rank)
        factors[1] = _solve((rest * _khatri_rao(factors[2:])).sum(1), grams, 1, damping)
        grams[1] = factors[1].T @ factors[1]
        kernel = (rest * factors[1][:, None]).sum(0).reshape(*tensor.shape[2:], -1)  # (*kernel, rank)
        for mode in range(2, len(factors)):
            right = kernel
            for other in reversed(range(2, len(factors))):
                if other != mode:  # sum over the other kernel modes, last first
                    shape = [-1 if axis == other - 2 else 1 for axis in range(right.ndim - 1)]
                    right = (right * factors[other].reshape(*shape, right.shape[-1])).sum(other - 2, keepdim=True)
            factors[mode] = _solve(right.reshape(len(factors[mode]), -1), grams, mode, damping)
            grams[mode] = factors[mode].T @ factors[mode]
        factors = balanced(factors)
    return factors


def _solve(right: Tensor, grams: Sequence[Tensor], mode: int, damping: float) -> Tensor:
    """Solve the normal equations of one factor: `F · Π_{m ≠ mode} A_mᵀ A_m = right`, damped relative to their trace."""
    matrix = _product([gram for other, gram in enumerate(grams) if other != mode])
    ridge = damping * matrix.diagonal().mean().clamp(min=1e-300)
    matrix = matrix + ridge * torch.eye(len(matrix)).to(matrix)
    return torch.linalg.solve(matrix, right.T).T


def _khatri_rao(factors: Sequence[Tensor]) -> Tensor:
    """Return all products of rows, column by column: `(Π size, rank)`, the last mode fastest."""
    return reduce(lambda left, right: (left[:, None] * right[None]).flatten(0, 1), factors)


def _product(matrices: Sequence[Tensor]) -> Tensor:
    return reduce(torch.mul, matrices)
