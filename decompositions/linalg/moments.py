"""Second moments over several axes: Kronecker products, their roots, and the moments over some of the axes.

A moment is a symmetric positive semi-definite matrix `(side, side)`, or the diagonal `(side,)` of a diagonal one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from decompositions.linalg.spectrum import eigh

# Eigenvalues of a moment below this share of its largest are zero: no sample has been there.
RTOL = 1e-10


@dataclass(frozen=True)
class Kronecker:
    """The Kronecker product of square matrices and diagonals, which is never formed.

    >>> swap, double = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double(), torch.tensor([2.0, 2.0]).double()
    >>> (Kronecker((swap, double)) @ torch.arange(4.0)[:, None]).flatten().tolist()
    [4.0, 6.0, 0.0, 2.0]
    """

    parts: tuple[Tensor, ...]

    def __matmul__(self, columns: Tensor) -> Tensor:
        """Multiply with `columns`, `(side, column)`, in the precision of the parts."""
        tensor = columns.to(self.parts[0].dtype).reshape(*(len(part) for part in self.parts), -1)
        for axis, part in enumerate(self.parts):
            if part.ndim == 1:
                tensor = tensor * part.reshape(-1, *[1] * (tensor.ndim - axis - 1))
            else:
                tensor = torch.tensordot(part, tensor, dims=([1], [axis])).movedim(0, axis)
        return tensor.reshape(columns.shape)

    @property
    def diagonal(self) -> Float64[Tensor, " side"]:
        """Return the diagonal."""
        return functools.reduce(torch.kron, (part if part.ndim == 1 else part.diagonal() for part in self.parts))

    @property
    def trace(self) -> float:
        """Return the trace."""
        return math.prod(float(part.sum() if part.ndim == 1 else part.trace()) for part in self.parts)

    @property
    def is_multiple_of_identity(self) -> bool:
        """Return True if all parts are diagonals of equal entries."""
        return all(part.ndim == 1 and bool((part == part[0]).all()) for part in self.parts)

    def root_and_inverse(self, rtol: float = RTOL) -> tuple[Kronecker, Kronecker]:
        """Return the symmetric root L and its pseudo-inverse L⁺."""
        pairs = [root_and_inverse(part, rtol) for part in self.parts]
        return Kronecker(tuple(root for root, _ in pairs)), Kronecker(tuple(inverse for _, inverse in pairs))


def root_and_inverse(moment: Tensor, rtol: float = RTOL) -> tuple[Tensor, Tensor]:
    """Return the symmetric root L of a moment and its pseudo-inverse L⁺, diagonals of a diagonal.

    Eigenvalues below the share `rtol` of the largest count as zero: Cholesky's factor would not exist.
    """
    if moment.ndim == 1:
        root = torch.where(moment > rtol * moment.max(), moment, 0.0).sqrt()
        return root, torch.where(root > 0, 1 / root, 0.0)
    values, vectors = eigh(moment)
    kept = int((values > rtol * values[0]).sum())
    root, vectors = values[:kept].sqrt(), vectors[:, :kept]
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def times_axes(tensor: Tensor, axes: Sequence[int], matrix: Kronecker) -> Tensor:
    """Multiply a matrix on the `axes` of a tensor together."""
    moved = tensor.movedim(tuple(axes), tuple(range(len(axes))))
    result = matrix @ moved.flatten(0, len(axes) - 1).flatten(1)
    return result.reshape(moved.shape).movedim(tuple(range(len(axes))), tuple(axes))


def apply(matrix: Kronecker | None, factor: Tensor) -> Float64[Tensor, "side column"]:
    """Return `matrix @ factor` in float64; None is the identity."""
    return factor.double() if matrix is None else matrix @ factor


def partial_trace(matrix: Kronecker, sizes: Sequence[int], kept: Sequence[int]) -> Tensor:
    """Return the moment over the `kept` of its axes, of these `sizes`: the others are summed over."""
    if len(matrix.parts) > 1:
        return _partial_trace_of_product(matrix, sizes, kept)
    (moment,) = matrix.parts
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


def _partial_trace_of_product(matrix: Kronecker, sizes: Sequence[int], kept: Sequence[int]) -> Tensor:
    """Do it for a product whose parts end elsewhere than the axes: read the entries that are summed, and no others."""
    device = matrix.parts[0].device
    index = torch.arange(math.prod(sizes), device=device).reshape(*sizes)
    index = index.movedim(tuple(kept), tuple(range(len(kept)))).flatten(0, len(kept) - 1).flatten(1)  # (kept, others)
    rows = []
    for left in index:
        entries, stride = torch.ones(index.shape, dtype=matrix.parts[0].dtype, device=device), index.numel()
        for part in matrix.parts:
            stride //= len(part)
            i, j = left // stride % len(part), index // stride % len(part)
            entries = entries * (part[i, j] if part.ndim == 2 else torch.where(i == j, part[j], 0.0))
        rows.append(entries.sum(1))
    return torch.stack(rows)
