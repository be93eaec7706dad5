"""The layers of block tensor trains: two block-diagonal products with a permutation between them.

    z[γ, β, σ] = Σ_δ R[γ, β, σ, δ] x[γ, δ],        y[α, β] = Σ_{γ σ} L[β, α, γ, σ] z[γ, β, σ]

There is one order: L has no axis that R could wait for. The dense weight is never formed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from decompositions.layers.geometry import CONVOLUTIONS, linear_of, part_of, wrong_kind
from decompositions.layers.left_right import LeftRight
from decompositions.layers.tt import POINTWISE


class BTTLayer(LeftRight):
    """Base of both layers: `left` holds L as `(β α, γ σ)`, `right` R as `(γ β σ, δ, *kernel)`."""

    def _start(self, dense: nn.Module, left: Tensor, right: Tensor) -> None:
        self.num_out_blocks, self.out_block, self.num_in_blocks, self.rank = left.shape
        self.in_block = right.shape[3]
        self.left = nn.Parameter(left.detach().flatten(2).flatten(0, 1).clone())
        self._keep_bias(dense)

    def _dense_weight(self) -> Tensor:
        """Multiply the factors out: `(out, in, *kernel)`."""
        a, b, c, d, weight = self.out_block, self.num_out_blocks, self.num_in_blocks, self.in_block, self.right_weight
        left = self.left.reshape(b, a, c, self.rank)
        product = torch.einsum("bacs,cbsdk->abcdk", left, weight.reshape(c, b, self.rank, d, -1))
        return product.reshape(a * b, c * d, *weight.shape[2:])

    def extra_repr(self) -> str:
        """Show the blocks and their rank."""
        sides = f"{self.num_in_blocks}·{self.in_block} -> {self.out_block}·{self.num_out_blocks}"
        return f"{sides}, rank={self.rank}"


class BTTLinear(BTTLayer):
    """A linear layer of L `(β, α, γ, σ)` and R `(γ, β, σ, δ)`: `(…, in)` to `(…, out)`, by two batched products."""

    right: nn.Parameter

    def __init__(self, dense: nn.Module, left: Tensor, right: Tensor) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear):
            raise ValueError(wrong_kind(dense))
        self._start(dense, left, right)
        self.right = nn.Parameter(right.detach().flatten(0, 2).clone())
        self.in_features, self.out_features = dense.in_features, dense.out_features

    def forward(self, x: Tensor) -> Tensor:
        """Map `(…, in)` to `(…, out)`."""
        a, b, c, d = self.out_block, self.num_out_blocks, self.num_in_blocks, self.in_block
        rows = math.prod(x.shape[:-1])
        y = torch.bmm(x.reshape(rows, c, d).transpose(0, 1), self.right.reshape(c, b * self.rank, d).transpose(1, 2))
        y = y.reshape(c, rows, b, self.rank).permute(2, 1, 0, 3).reshape(b, rows, c * self.rank)
        y = torch.bmm(y, self.left.reshape(b, a, c * self.rank).transpose(1, 2))  # (β, rows, α)
        y = y.permute(1, 2, 0).reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def to_dense(self) -> nn.Linear:
        """Return one linear layer that computes the same."""
        return linear_of(self._dense_weight(), self.bias)


class BTTConv(BTTLayer):
    """A convolution of L `(β, α, γ, σ)` and R `(γ, β, σ, δ, *kernel)`: a grouped one with the geometry of the dense
    one, then a grouped 1×1 one.
    """

    right: nn.Module

    def __init__(self, dense: nn.Module, left: Tensor, right: Tensor) -> None:
        super().__init__()
        if not isinstance(dense, CONVOLUTIONS):
            raise ValueError(wrong_kind(dense))
        self._start(dense, left, right)
        self.axes = range(len(dense.kernel_size))
        self.right = part_of(dense, self.axes, right.flatten(0, 2), groups=self.num_in_blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(batch, in, *size)` to `(batch, out, *size')`."""
        if x.ndim == len(self.axes) + 1:
            return self.forward(x[None])[0]
        a, b, c, ones = self.out_block, self.num_out_blocks, self.num_in_blocks, [1] * len(self.axes)
        y = self.right(x)  # (batch, γ β σ, *size')
        rows, sizes = x.shape[0], y.shape[2:]  # len(x) would fix the batch of an exported graph
        y = y.reshape(rows, c, b, self.rank, *sizes).transpose(1, 2).reshape(rows, b * c * self.rank, *sizes)
        y = POINTWISE[len(self.axes)](y, self.left.reshape(b * a, c * self.rank, *ones), groups=b)
        y = y.reshape(rows, b, a, *sizes).transpose(1, 2).reshape(rows, a * b, *sizes)
        return y if self.bias is None else y + self.bias.reshape(-1, *ones)

    @torch.no_grad()
    def to_dense(self) -> nn.Module:
        """Return one convolution that computes the same."""
        return part_of(self.right, self.axes, self._dense_weight(), self.bias)
