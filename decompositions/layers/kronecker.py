"""The layers of Kronecker sums: parameters are the factors, a pass multiplies by one and then by the other.

    W(a b, c d, kernel) = Σ_k A_k(a, c) B_k(b, d, kernel)

Either factor may go first; which needs fewer multiply-adds depends on sizes and positions, not on the number of terms.
Neither order permutes what stands between, and the dense weight is never formed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from decompositions.layers.geometry import CONVOLUTIONS, Geometry, linear_of, part_of, wrong_kind
from decompositions.layers.left_right import LeftRight


@dataclass(frozen=True)
class KroneckerSizes:
    """`out = a · b`, `into = c · d`, and the positions of the kernel (1 for a linear layer)."""

    out: tuple[int, int]
    into: tuple[int, int]
    kernel: int = 1

    def macs(self, before: int, after: int) -> tuple[int, int]:
        """Count the multiply-adds of one term for `before` positions, of which `after` are left: B first, A first."""
        (a, b), (c, d) = self.out, self.into
        return c * b * (d * self.kernel + a) * after, a * d * (c * before + b * self.kernel * after)


class KroneckerLayer(LeftRight):
    """Base of both layers: `left` holds A as `(a, c · term)`, `right` B as `(term · b, d, *kernel)`."""

    sizes: KroneckerSizes

    def _start(self, dense: nn.Module, left: Tensor, right: Tensor) -> None:
        (a, c), (b, d) = left.shape[1:], right.shape[1:3]
        self.sizes = KroneckerSizes((a, b), (c, d), math.prod(right.shape[3:]))
        self.num_terms = len(left)
        self.left = nn.Parameter(left.detach().permute(1, 2, 0).reshape(a, -1).clone())
        self._keep_bias(dense)

    def _left_first(self) -> Tensor:
        """Return A as `(a · term, c)`."""
        a, c = self.sizes.out[0], self.sizes.into[0]
        return self.left.reshape(a, c, self.num_terms).transpose(1, 2).reshape(a * self.num_terms, c)

    def _right_last(self) -> Tensor:
        """Return B as `(b, term · d, *kernel)`."""
        b, d = self.sizes.out[1], self.sizes.into[1]
        weight = self.right_weight
        terms = weight.reshape(self.num_terms, b, d, *weight.shape[2:]).transpose(0, 1)
        return terms.reshape(b, self.num_terms * d, *weight.shape[2:])

    def _dense_weight(self) -> Tensor:
        """Sum the terms: `(out, in, *kernel)`."""
        (a, b), (c, d), weight = self.sizes.out, self.sizes.into, self.right_weight
        right = weight.reshape(self.num_terms, b, d, -1)
        product = torch.einsum("acr,rbdk->abcdk", self.left.reshape(a, c, self.num_terms), right)
        return product.reshape(a * b, c * d, *weight.shape[2:])

    def extra_repr(self) -> str:
        """Show sizes and the number of terms."""
        (a, b), (c, d) = self.sizes.out, self.sizes.into
        return f"{c}·{d} -> {a}·{b}, terms={self.num_terms}"


class KroneckerLinear(KroneckerLayer):
    """A linear layer of factors A `(term, a, c)` and B `(term, b, d)`: `(…, in)` to `(…, out)`."""

    right: nn.Parameter

    def __init__(self, dense: nn.Module, left: Tensor, right: Tensor) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear):
            raise ValueError(wrong_kind(dense))
        self._start(dense, left, right)
        self.right = nn.Parameter(right.detach().flatten(0, 1).clone())
        self.in_features, self.out_features = dense.in_features, dense.out_features
        right_first, left_first = self.sizes.macs(1, 1)
        self.starts_right = right_first <= left_first

    def forward(self, x: Tensor) -> Tensor:
        """Map `(…, in)` to `(…, out)`, in the order with fewer multiply-adds."""
        (a, b), (c, d), rows = self.sizes.out, self.sizes.into, math.prod(x.shape[:-1])
        if self.starts_right:
            y = torch.matmul(x.reshape(rows, c, d), self.right.T)  # (rows, c, term · b)
            y = torch.matmul(self.left, y.reshape(rows, c * self.num_terms, b))  # (rows, a, b)
        else:
            y = torch.matmul(self._left_first(), x.reshape(rows, c, d))  # (rows, a · term, d)
            y = torch.matmul(y.reshape(rows, a, self.num_terms * d), self._right_last().T)
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def to_dense(self) -> nn.Linear:
        """Return one linear layer that computes the same."""
        return linear_of(self._dense_weight(), self.bias)


class KroneckerConv(KroneckerLayer):
    """A convolution of factors A `(term, a, c)` and B `(term, b, d, *kernel)`; B has the geometry of the dense one."""

    right: nn.Module

    def __init__(self, dense: nn.Module, left: Tensor, right: Tensor) -> None:
        super().__init__()
        if not isinstance(dense, CONVOLUTIONS):
            raise ValueError(wrong_kind(dense))
        self._start(dense, left, right)
        self.axes = range(len(dense.kernel_size))
        self.right = part_of(dense, self.axes, right.flatten(0, 1))
        self.geometry = Geometry.of(dense)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(batch, in, *size)` to `(batch, out, *size')`, in the order with fewer multiply-adds."""
        if x.ndim == len(self.axes) + 1:
            return self.forward(x[None])[0]
        (a, b), (c, d), rows, terms = self.sizes.out, self.sizes.into, x.shape[0], self.num_terms
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # an order that holds for sizes of any kind
            before, after = math.prod(self.geometry.strides), 1
        else:
            before, after = math.prod(x.shape[2:]), math.prod(self.geometry.after(x.shape[2:]))
        right_first, left_first = self.sizes.macs(before, after)
        if right_first <= left_first:
            y = self._convolve(x.reshape(rows * c, d, *x.shape[2:]), self.right_weight)  # (rows · c, term · b, …)
            sizes = y.shape[2:]
            y = torch.matmul(self.left, y.reshape(rows, c * terms, b * math.prod(sizes)))  # (rows, a, b · …)
        else:
            y = torch.matmul(self._left_first(), x.reshape(rows, c, d * math.prod(x.shape[2:])))
            y = self._convolve(y.reshape(rows * a, terms * d, *x.shape[2:]), self._right_last())  # (rows · a, b, …)
            sizes = y.shape[2:]
        y = y.reshape(rows, a * b, *sizes)
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * len(self.axes))

    @torch.no_grad()
    def to_dense(self) -> nn.Module:
        """Return one convolution that computes the same."""
        return part_of(self.right, self.axes, self._dense_weight(), self.bias)

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Convolve with the layer's stride, padding, padding mode and dilation, but another weight."""
        convolution = self.right
        assert isinstance(convolution, CONVOLUTIONS)
        return convolution._conv_forward(x, weight, None)
