"""The layers that stand in the place of a dense one: their base class, a chain of layers, rank 0, and a fresh start."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from decompositions.layers.geometry import CONVOLUTIONS, Geometry, wrong_kind


class Factored(nn.Module):
    """What `Format.layer` returns. A layer that computes what a dense one would also has `to_dense() -> nn.Module`."""

    def reset(self, gain: float) -> None:
        """Start anew, in place: keep the signal's variance inside, multiply it by `gain²` at the end; no bias."""
        raise NotImplementedError


class FactoredSequential(Factored, nn.Sequential):
    """Linear layers, or convolutions made by `convolution.part_of`; no activation between them, a bias at the end."""

    @torch.no_grad()
    def to_dense(self) -> nn.Module:
        """One layer that computes the same."""
        parts = [part for part in self if isinstance(part, (nn.Linear, *CONVOLUTIONS))]
        first, last = parts[0], parts[-1]
        weight = first.weight
        for part in parts[1:]:
            if getattr(part, "groups", 1) > 1:  # depthwise: (channel, 1, *kernel)
                weight = part.weight * weight
            else:
                weight = torch.einsum("om...,mi...->oi...", part.weight, weight)
        options: dict[str, Any] = {"bias": last.bias is not None, "device": weight.device, "dtype": weight.dtype}
        if not isinstance(first, nn.Linear):
            convolutions = [part for part in parts if isinstance(part, CONVOLUTIONS)]
            paddings = [part.padding for part in convolutions]
            options |= {
                "kernel_size": tuple(weight.shape[2:]),
                "stride": tuple(map(math.prod, zip(*(part.stride for part in convolutions), strict=True))),
                "padding": paddings[0] if isinstance(paddings[0], str) else tuple(map(max, *paddings)),
                "dilation": tuple(map(max, *(part.dilation for part in convolutions))),
                "padding_mode": next((p.padding_mode for p in convolutions if p.padding_mode != "zeros"), "zeros"),
            }
        dense = type(first)(weight.shape[1], weight.shape[0], **options)
        dense.weight.copy_(weight)
        if dense.bias is not None and last.bias is not None:
            dense.bias.copy_(last.bias)
        return dense

    @torch.no_grad()
    def reset(self, gain: float) -> None:
        """Start anew: every layer keeps the signal's variance, the last one multiplies it by `gain²`; no bias."""
        parts = list(self)
        for part in parts:
            assert isinstance(part.weight, Tensor)
            std = (gain if part is parts[-1] else 1.0) / math.sqrt(part.weight[0].numel())
            nn.init.normal_(part.weight, std=std)
            if isinstance(part.bias, Tensor):
                nn.init.zeros_(part.bias)


class ZeroRank(Factored):
    """Output the bias of `dense` (zeros without one) in the shape of its output; the input's values are not read."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            raise ValueError(wrong_kind(dense))
        self.num_outputs = dense.weight.shape[0]
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        self.geometry = None if isinstance(dense, nn.Linear) else Geometry.of(dense)

    def forward(self, x: Tensor) -> Tensor:
        """Shape `(…, in)` to `(…, out)`, or `(…, in, *size)` to `(…, out, *size')`."""
        bias = x.new_zeros(self.num_outputs) if self.bias is None else self.bias
        if self.geometry is None:
            return bias.expand(*x.shape[:-1], self.num_outputs).contiguous()
        num_axes = len(self.geometry.strides)
        sizes = self.geometry.after(x.shape[-num_axes:])
        leading = x.shape[: -num_axes - 1]
        return bias.reshape(-1, *[1] * num_axes).expand(*leading, -1, *sizes).contiguous()

    def reset(self, gain: float) -> None:
        """There is nothing to start but the bias."""
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def initialise(network: nn.Module, gain: float = 2**0.5) -> list[str]:
    """Fill the factors of every compressed layer of `network` anew, in place; return the names of these layers.

    Each contraction inside a layer keeps the signal's variance, the last multiplies it by `gain²` [HZRS15]: √2 before
    a ReLU, 1 before nothing. Inside a nonlinear tensor train the gain of its activation is added. Biases become 0.
    torch's generator is used: `torch.manual_seed` repeats.

    [HZRS15] He, Zhang, Ren & Sun, Delving deep into rectifiers, ICCV 2015.
    """
    names = []
    for name, layer in network.named_modules():
        if isinstance(layer, Factored):
            layer.reset(gain)
            names.append(name)
    return names
