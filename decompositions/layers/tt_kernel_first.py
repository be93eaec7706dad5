"""The convolution whose tensor train begins with the kernel [GPNV16], computed in a planned order.

    W(s, c, kernel) = Σ_r K(kernel, r) G_1(r; s_1 c_1) … G_d(s_d c_d)

Three orders give the same: the kernel first, on every input channel alone, then the train; the train first, then the
kernel on every output channel; or the dense weight, formed from both. Which is cheapest depends on sizes, ranks and
batch; it is chosen by counted multiply-adds and moved bytes, once, and kept.

[GPNV16] Garipov, Podoprikhin, Novikov & Vetrov, Ultimate tensorization, arXiv:1611.03214, 2016.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from decompositions.layers.base import Factored
from decompositions.layers.geometry import CONVOLUTIONS, Geometry, part_of, wrong_kind
from decompositions.linalg.tt_contraction import (
    WITH_BACKWARD,
    CoreShape,
    Plan,
    merge,
    merge_macs,
    multiply,
    plan,
    prices_of,
)


@dataclass(frozen=True)
class KernelOrder:
    """The place of the kernel (before the train, after it, or in a dense weight), and the plan of the train."""

    kernel: Literal["first", "last", "dense"]
    macs: int
    price: float
    train: Plan | None


@functools.lru_cache(maxsize=4096)
def kernel_order(
    shapes: tuple[CoreShape, ...],
    kernel: int,
    batch: int,
    before: int,
    after: int,
    device_type: str,
    backward: bool = False,
) -> KernelOrder:
    """Return the cheapest order for a batch of images of `before` positions, of which `after` are left.

    With `backward` the plans of the train count the gradients' pass; all else grows by the same factor.
    """
    byte = 4 * prices_of(device_type).byte  # of one float32
    rank = shapes[0][0]
    out, into = (math.prod(shape[axis] for shape in shapes) for axis in (1, 2))
    first = plan(shapes, batch * after, device_type, directions=(True,), backward=backward)
    last = plan(shapes, batch * before, device_type, directions=(False,), backward=backward)
    on_inputs, on_outputs = (batch * channels * rank * kernel * after for channels in (into, out))
    forming = merge_macs(shapes) + out * into * rank * kernel
    dense = forming + batch * out * into * kernel * after
    passes = WITH_BACKWARD if backward else 1
    # What stands between kernel and train is written, permuted and read.
    moved_first, moved_last = (3 * byte * batch * rank * size for size in (into * after, out * before))
    moved_dense = 3 * byte * out * into * (kernel + rank)
    candidates = [
        KernelOrder("first", on_inputs + first.macs, first.price + passes * (on_inputs + moved_first), first),
        KernelOrder("last", on_outputs + last.macs, last.price + passes * (on_outputs + moved_last), last),
        KernelOrder("dense", dense, passes * (dense + moved_dense), None),
    ]
    return min(candidates, key=lambda candidate: candidate.price)


class TTKernelFirst(Factored):
    """The convolution of a kernel core `(1, kernel, r)` and cores `(r_{k−1}, s_k, c_k, r_k)` with the first at r."""

    def __init__(self, dense: nn.Module, kernel: Tensor, cores: Sequence[Tensor]) -> None:
        super().__init__()
        if not isinstance(dense, CONVOLUTIONS):
            raise ValueError(wrong_kind(dense))
        self.axes = range(len(dense.kernel_size))
        # One channel to r: its pass and its padding serve all orders.
        self.convolution = part_of(dense, self.axes, kernel[0].T.reshape(-1, 1, *dense.kernel_size))
        self.cores = nn.ParameterList(core.detach().clone() for core in cores)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        self.shapes: tuple[CoreShape, ...] = tuple((a, m, n, b) for a, m, n, b in (core.shape for core in cores))
        self.geometry = Geometry.of(dense)
        self.num_kernel = math.prod(dense.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(batch, in, *size)` to `(batch, out, *size')`, in the order planned for these sizes on this device."""
        if x.ndim == len(self.axes) + 1:
            return self.forward(x[None])[0]
        weight, sizes = self._kernel(), self.geometry.after(x.shape[2:])
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            order = KernelOrder("dense", 0, 0.0, None)  # the order that holds for every batch
        else:
            positions = math.prod(x.shape[2:]), math.prod(sizes)
            backward = torch.is_grad_enabled()
            order = kernel_order(self.shapes, self.num_kernel, x.shape[0], *positions, x.device.type, backward)
        if order.train is None:
            return self._convolve(x, self._weight(), self.bias)
        rank, num_in = weight.shape[0], x.shape[1]
        if order.kernel == "first":
            y = self._convolve(x.reshape(-1, 1, *x.shape[2:]), weight, None)  # (batch · in, r, *size')
            y = y.reshape(x.shape[0], num_in, rank, math.prod(sizes)).permute(0, 3, 2, 1)
            y = multiply(y.reshape(-1, rank * num_in), list(self.cores), order.train)
            y = y.reshape(x.shape[0], math.prod(sizes), self._num_out).transpose(1, 2)
            y = y.reshape(x.shape[0], self._num_out, *sizes)
        else:
            rows = x.flatten(2).transpose(1, 2).reshape(-1, num_in)  # (batch · positions, in)
            y = multiply(rows, list(self.cores), order.train)
            y = y.reshape(x.shape[0], math.prod(x.shape[2:]), rank, self._num_out).permute(0, 3, 2, 1)
            y = self._convolve(y.reshape(-1, rank, *x.shape[2:]), weight.transpose(0, 1), None)  # (batch · out, 1, …)
            y = y.reshape(x.shape[0], self._num_out, *sizes)
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * len(self.axes))

    @torch.no_grad()
    def to_dense(self) -> nn.Module:
        """Return one convolution that computes the same."""
        return part_of(self.convolution, self.axes, self._weight(), self.bias)

    @torch.no_grad()
    def reset(self, gain: float) -> None:
        """Draw all cores anew: they keep the signal's variance, the last core multiplies it by `gain²`."""
        nn.init.normal_(self._kernel(), std=self.num_kernel**-0.5)
        for core in self.cores:
            scale = gain if core is self.cores[-1] else 1.0
            nn.init.normal_(core, std=scale / math.sqrt(core.shape[0] * core.shape[2]))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def _num_out(self) -> int:
        return math.prod(shape[1] for shape in self.shapes)

    def _kernel(self) -> Tensor:
        """Return the kernel core as a weight `(r, 1, *kernel)`."""
        return self.convolution.get_parameter("weight")

    def _weight(self) -> Tensor:
        """Multiply kernel and cores out: the dense weight `(out, in, *kernel)`."""
        kernel = self._kernel()
        chain = merge(list(self.cores))[..., 0]  # (r, out, in)
        weight = chain.flatten(1).T @ kernel.flatten(1)  # (out · in, kernel)
        return weight.reshape(*chain.shape[1:], *kernel.shape[2:])

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve with the layer's stride, padding, padding mode and dilation, but another weight."""
        convolution = self.convolution
        assert isinstance(convolution, CONVOLUTIONS)
        return convolution._conv_forward(x, weight, bias)
