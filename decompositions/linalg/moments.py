"""Second moments of several axes: their roots, their partial traces, their Kronecker products, and products with modes.

A moment is a symmetric positive semi-definite matrix `(side, side)`, or the diagonal `(side,)` of a diagonal one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from decompositions.linalg.spectrum import eigh

# Eigenvalues of a moment below this share of its largest are zero: no sample has been there.
DEFICIENT = 1e-10


def root_and_inverse(moment: Tensor) -> tuple[Tensor, Tensor]:
    """Return the symmetric root L of a moment and its pseudo-inverse L⁺, diagonals of a diagonal."""
    if moment.ndim == 1:
        root = moment.clamp(min=0).sqrt()
        return root, torch.where(root > 0, 1 / root, 0.0)
    values, vectors = eigh(moment)
    kept = int((values > DEFICIENT * values[0]).sum())
    root, vectors = values[:kept].sqrt(), vectors[:, :kept]
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def times_mode(tensor: Tensor, axes: Sequence[int], matrix: Tensor) -> Tensor:
    """Multiply a matrix `(rows, side)`, or a diagonal, on the neighbouring or other `axes` of a tensor together."""
    moved = tensor.movedim(tuple(axes), tuple(range(len(axes))))
    flat = moved.flatten(0, len(axes) - 1)
    rest = flat.flatten(1)
    result = rest * matrix[:, None] if matrix.ndim == 1 else matrix @ rest
    return result.reshape(moved.shape).movedim(tuple(range(len(axes))), tuple(axes))


def times(matrix: Tensor | None, factor: Tensor) -> Tensor:
    """Return `matrix @ factor` in float64, for a matrix `(side, side)`, a diagonal `(side,)`, or None, the identity."""
    factor = factor.double()
    if matrix is None:
        return factor
    return factor * matrix[:, None] if matrix.ndim == 1 else matrix @ factor


def partial_trace(moment: Tensor, sizes: Sequence[int], kept: Sequence[int]) -> Tensor:
    """Return the moment over the `kept` of its axes: the others are summed over."""
    others = [k for k in range(len(sizes)) if k not in kept]
    if moment.ndim == 1:
        return moment.reshape(*sizes).sum(others).flatten() if others else moment
    num = len(sizes)
    names = list(range(2 * num))
    for k in others:
        names[num + k] = names[k]
    wanted = [names[k] for k in kept] + [names[num + k] for k in kept]
    side = math.prod(sizes[k] for k in kept)
    return torch.einsum(moment.reshape(*sizes, *sizes), names, wanted).reshape(side, side)


def kronecker(parts: Mapping[int, Tensor], group: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Return the Kronecker product of a mode's parts; axes without a part have the identity."""
    diagonal = all(part.ndim == 1 for part in parts.values())
    result, axes = torch.ones(1, dtype=torch.float64), list(group)
    if not diagonal:
        result = result[None]
    while axes:
        part = parts.get(axes[0], torch.ones(sizes[axes[0]], dtype=torch.float64))
        covered = 1
        while math.prod(sizes[axis] for axis in axes[:covered]) < len(part):
            covered += 1
        axes = axes[covered:]
        result = torch.kron(result.to(part.device), part if diagonal or part.ndim == 2 else torch.diag(part))
    return result


def product(moments: Sequence[Tensor]) -> Tensor:
    """Return the Kronecker product of moments as one: a diagonal if all are."""
    if all(moment.ndim == 1 for moment in moments):
        return functools.reduce(torch.kron, moments)
    return functools.reduce(torch.kron, [torch.diag(m) if m.ndim == 1 else m for m in moments])
