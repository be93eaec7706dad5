"""The factors of a full Tucker decomposition of a reshaped matrix, and the linear layer made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from decompositions.layers.base import Factored, dense_of, reset_part
from decompositions.layers.geometry import linear_of, part_of, wrong_kind
from decompositions.linalg.canonical import orthonormal_bases
from decompositions.linalg.moments import Kronecker, apply


@dataclass(frozen=True)
class TuckerFactors:
    """`core ×₁ U_1 …`: the core `(r_1, r_2, …)`, first the `num_out` modes of the outputs, and their bases."""

    core: Tensor
    bases: tuple[Tensor, ...]  # (size_k, r_k)
    num_out: int

    def to_tensor(self) -> Tensor:
        """Multiply the factors: the approximate weight, `(out, in)`."""
        out = math.prod(len(basis) for basis in self.bases[: self.num_out])
        return times(self.core, self.bases).reshape(out, -1)

    @property
    def num_params(self) -> int:
        """Count the numbers in core and bases."""
        return self.core.numel() + sum(basis.numel() for basis in self.bases)

    def mode_product(self, maps: Sequence[Kronecker | None], dtype: torch.dtype) -> TuckerFactors:
        """Return the factors with a matrix on each mode (see `core.whitening.ModeFactors`)."""
        mapped = [apply(matrix, basis) for matrix, basis in zip(maps, self.bases, strict=True)]
        core, bases = orthonormal_bases(self.core.double(), mapped)
        return replace(self, core=core.to(dtype), bases=tuple(basis.to(dtype) for basis in bases))


class TuckerLinear(Factored):
    """A linear layer whose weight is `factors`, `(…, in)` to `(…, out)`: the input modes one after another, the core,
    the output modes; each is a linear layer on one axis of `(rows, *modes)`. The bias comes at the end.
    """

    def __init__(self, dense: nn.Module, factors: TuckerFactors) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear):
            raise ValueError(wrong_kind(dense))
        out, into = factors.bases[: factors.num_out], factors.bases[factors.num_out :]
        self.in_features, self.out_features = dense.in_features, dense.out_features
        self.in_modes = tuple(len(basis) for basis in into)
        self.out_ranks = tuple(basis.shape[1] for basis in out)
        self.into = nn.ModuleList(part_of(dense, (), basis.T) for basis in into)
        self.core = part_of(dense, (), factors.core.reshape(math.prod(self.out_ranks), -1))
        self.out = nn.ModuleList(part_of(dense, (), basis) for basis in out)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map `(…, in)` to `(…, out)`, any leading sizes."""
        y = x.reshape(-1, *self.in_modes)
        for k in reversed(range(len(self.into))):  # the last axis is next; after a turn of all they are back in order
            y = self.into[k](y).movedim(-1, 1)
        y = self.core(y.flatten(1)).reshape(-1, *self.out_ranks)
        for k in reversed(range(len(self.out))):
            y = self.out[k](y).movedim(-1, 1)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def to_dense(self) -> nn.Linear:
        """Return one linear layer that computes the same."""
        out = [dense_of(part).weight for part in self.out]
        into = [dense_of(part).weight.T for part in self.into]
        core = dense_of(self.core).weight.reshape(*self.out_ranks, *(basis.shape[1] for basis in into))
        weight = TuckerFactors(core, (*out, *into), len(out)).to_tensor()
        return linear_of(weight, self.bias)

    @torch.no_grad()
    def reset(self, gain: float) -> None:
        """Draw all factors anew: each contraction keeps the signal's variance, the last multiplies it by `gain²`."""
        for part in (*self.into, self.core, *self.out):
            reset_part(part, gain if part is self.out[0] else 1.0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def times(tensor: Tensor, matrices: Sequence[Tensor | None]) -> Tensor:
    """Multiply each axis by its matrix `(new, old)`, or leave it if that is None; one axis at a time."""
    for matrix in matrices:  # the first axis goes, the new one comes last: after all of them they are in order
        tensor = tensor.movedim(0, -1) if matrix is None else torch.tensordot(tensor, matrix, dims=([0], [1]))
    return tensor
