"""Compressed layers: their base class, a sequence of layers, the layer of rank 0, and a fresh start for all of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from decompositions.layers.geometry import CONVOLUTIONS, Geometry, wrong_kind


class Factored(nn.Module):
    """Base of the layers that `Format.layer` returns.

    A layer that equals a dense one also has `to_dense() -> nn.Module`, which returns it; a nonlinear one has not.
    """

    def reset(self, gain: float) -> None:
        """Draw all factors anew, in place: the layer multiplies the signal's variance by `gain²`; biases become 0."""
        raise NotImplementedError  # every kind of layer draws its own factors; a module has no abstract methods


class FactoredSequential(Factored, nn.Sequential):
    """Linear layers, or convolutions made by `geometry.part_of`, without activations; the last one has the bias."""

    @torch.no_grad()
    def to_dense(self) -> nn.Module:
        """Return one dense layer that computes the same."""
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
        """Draw all factors anew: every layer keeps the signal's variance, the last one multiplies it by `gain²`."""
        parts = list(self)
        for part in parts:
            assert isinstance(part.weight, Tensor)
            std = (gain if part is parts[-1] else 1.0) / math.sqrt(part.weight[0].numel())
            nn.init.normal_(part.weight, std=std)
            if isinstance(part.bias, Tensor):
                nn.init.zeros_(part.bias)


class ZeroRank(Factored):
    """A layer of rank 0: it returns the bias of `dense` (zeros if it has none) for every input."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            raise ValueError(wrong_kind(dense))
        self.num_outputs = dense.weight.shape[0]
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        self.geometry = None if isinstance(dense, nn.Linear) else Geometry.of(dense)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(…, in)` to `(…, out)`, or `(…, in, *size)` to `(…, out, *size')`; only the shape of `x` is read."""
        bias = x.new_zeros(self.num_outputs) if self.bias is None else self.bias
        if self.geometry is None:
            return bias.expand(*x.shape[:-1], self.num_outputs).contiguous()
        num_axes = len(self.geometry.strides)
        sizes = self.geometry.after(x.shape[-num_axes:])
        leading = x.shape[: -num_axes - 1]
        return bias.reshape(-1, *[1] * num_axes).expand(*leading, -1, *sizes).contiguous()

    def reset(self, gain: float) -> None:
        """Set the bias, all there is, to 0."""
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def initialise(network: nn.Module, gain: float = 2**0.5) -> list[str]:
    """Draw the factors of every compressed layer of `network` anew, in place; return the names of these layers.

    Each contraction inside a layer keeps the signal's variance, the last multiplies it by `gain²` [HZRS15]: √2 before
    a ReLU, 1 before nothing. Inside a nonlinear tensor train the gain of its activation is added. Biases become 0.
    The numbers are those of torch's generator: `torch.manual_seed` makes them repeat.

    [HZRS15] He, Zhang, Ren & Sun, Delving deep into rectifiers, ICCV 2015.
    """
    names = []
    for name, layer in network.named_modules():
        if isinstance(layer, Factored):
            layer.reset(gain)
            names.append(name)
    return names
