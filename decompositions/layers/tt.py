"""The layers of tensor trains: parameters are the cores, a pass multiplies by them in a planned order."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from decompositions.layers.base import Factored, dense_of, reset_part
from decompositions.layers.geometry import CONVOLUTIONS, linear_of, part_of, wrong_kind
from decompositions.linalg.tt_contraction import CoreShape, merge, multiply, plan

POINTWISE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}

# Rows for which a pass is planned while a graph of unknown batch is recorded.
NOMINAL_ROWS = 128


class TTLinear(Factored):
    """A linear layer whose weight is the TT-matrix of `cores` `(r_{k−1}, m_k, n_k, r_k)`: `(…, in)` to `(…, out)`."""

    def __init__(self, dense: nn.Module, cores: Sequence[Tensor]) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear):
            raise ValueError(wrong_kind(dense))
        self.in_features, self.out_features = dense.in_features, dense.out_features
        self.cores = nn.ParameterList(core.detach().clone() for core in cores)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        self.shapes: tuple[CoreShape, ...] = tuple((a, m, n, b) for a, m, n, b in (core.shape for core in cores))
        # Orders for all rows at once, for graphs that are recorded for a batch of any size.
        self.nominal = replace(plan(self.shapes, NOMINAL_ROWS, "cpu"), chunk=sys.maxsize)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(…, in)` to `(…, out)`, in the order planned for this number of rows on this device."""
        recording = torch.compiler.is_compiling() or torch.jit.is_tracing()
        rows = math.prod(x.shape[:-1])
        order = self.nominal if recording else plan(self.shapes, rows, x.device.type, backward=torch.is_grad_enabled())
        y = multiply(x.reshape(-1, self.in_features), list(self.cores), order).reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def to_dense(self) -> nn.Linear:
        """Return one linear layer that computes the same."""
        return linear_of(merge(list(self.cores)).reshape(self.out_features, self.in_features), self.bias)

    @torch.no_grad()
    def reset(self, gain: float) -> None:
        """Draw the cores anew: each contraction keeps the signal's variance, the last multiplies it by `gain²`."""
        reset_cores(list(self.cores), [1.0] * (len(self.cores) - 1), gain)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """Show sizes, modes and ranks."""
        out, into = ("·".join(str(shape[axis]) for shape in self.shapes) for axis in (1, 2))
        ranks = [shape[3] for shape in self.shapes[:-1]]
        return f"{self.in_features} = {into} -> {self.out_features} = {out}, ranks={ranks}"


class TTConv(Factored):
    """A convolution between few channels, with a train of input cores before it and one of output cores after it.

    The cores `(r_{k−1}, size_k, r_k)` are merged into two matrices each pass, which costs nothing beside the pixels.
    """

    def __init__(self, dense: nn.Module, out: Sequence[Tensor], kernel: Tensor, into: Sequence[Tensor]) -> None:
        super().__init__()
        if not isinstance(dense, CONVOLUTIONS):
            raise ValueError(wrong_kind(dense))
        axes = range(len(dense.kernel_size))
        weight = kernel.movedim(1, 2)  # (r_out, r_in, kernel)
        self.out_cores = nn.ParameterList(core.detach().clone() for core in out)
        self.convolution = part_of(dense, axes, weight.reshape(*weight.shape[:2], *dense.kernel_size))
        self.in_cores = nn.ParameterList(core.detach().clone() for core in into)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        self.num_axes = len(axes)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(batch, in, *size)` to `(batch, out, *size')`: input cores, convolution, output cores."""
        pointwise, ones = POINTWISE[self.num_axes], [1] * self.num_axes
        out, into = self._matrices()
        x = pointwise(x, into.reshape(*into.shape, *ones))
        return pointwise(self.convolution(x), out.reshape(*out.shape, *ones), self.bias)

    @torch.no_grad()
    def to_dense(self) -> nn.Module:
        """Return one convolution that computes the same."""
        (out, into), convolution = self._matrices(), dense_of(self.convolution)
        weight = torch.einsum("ta,ab...,bs->ts...", out, convolution.weight, into)
        return part_of(convolution, range(self.num_axes), weight, self.bias)

    @torch.no_grad()
    def reset(self, gain: float) -> None:
        """Draw all cores anew: trains and kernel keep the signal's variance, the last core multiplies it by `gain²`."""
        reset_cores([core[:, None] for core in self.in_cores], [1.0] * (len(self.in_cores) - 1), 1.0)
        reset_part(self.convolution, 1.0)
        reset_cores([core[:, :, None] for core in self.out_cores], [1.0] * (len(self.out_cores) - 1), gain)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _matrices(self) -> tuple[Tensor, Tensor]:
        """Return the merged cores of outputs `(out, r_out)` and inputs `(r_in, in)`."""
        out = merge([core[:, :, None] for core in self.out_cores])  # (1, out, 1, r_out)
        into = merge([core[:, None] for core in self.in_cores])  # (r_in, 1, in, 1)
        return out[0, :, 0], into[:, 0, :, 0]


def reset_cores(cores: Sequence[Tensor], gains: Sequence[float], last: float) -> None:
    """Fill cores `(r_{k−1}, m, n, r_k)`, contracted from the right, so that the signal's variance is kept.

    `gains` are those of all but the last contraction (which is the first core's), in the order of contraction.
    """
    for core, gain in zip(reversed(cores), [*gains, last], strict=True):
        nn.init.normal_(core, std=gain / math.sqrt(core.shape[2] * core.shape[3]))
