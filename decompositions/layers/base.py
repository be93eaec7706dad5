"""Compressed layers: their base class, a sequence of layers, the layer of rank 0, and a fresh start for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from decompositions.layers.geometry import CONVOLUTIONS, LAYER_TYPES, TRANSPOSED, Geometry, wrong_kind


class Factored(nn.Module):
    """Base of the layers that `Format.layer` returns.

    A layer that equals a dense one also has `to_dense() -> nn.Module`, which returns it; a nonlinear one has not.
    """

    __jit_unused_properties__ = ("weight", "bias")  # torch.jit.script compiles properties, used or not

    @property
    def weight(self) -> Tensor:
        """The weight of `to_dense()`, formed anew at each read, without gradients: for code that only looks at it."""
        if not hasattr(type(self), "to_dense"):
            raise AttributeError(f"{type(self).__name__} equals no dense layer and has no weight")
        dense: Any = self
        try:
            return dense.to_dense().weight
        except ValueError as error:  # a part is nonlinear
            raise AttributeError(str(error)) from error

    def reset(self, gain: float) -> None:
        """Draw all factors anew, in place: the layer multiplies the signal's variance by `gain²`; biases become 0."""
        raise NotImplementedError  # every kind of layer draws its own factors; a module has no abstract methods


class FactoredSequential(Factored, nn.Sequential):
    """Linear layers, or convolutions made by `geometry.part_of`, without activations; the last one has the bias."""

    @torch.no_grad()
    def to_dense(self) -> nn.Module:
        """Return one dense layer that computes the same; raise `ValueError` if a part equals none."""
        parts = [dense_of(part) for part in self]
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

    @property
    def bias(self) -> Tensor | None:
        """The bias of the last layer."""
        bias = self[-1].bias
        assert bias is None or isinstance(bias, Tensor)
        return bias

    def reset(self, gain: float) -> None:
        """Draw all factors anew: every layer keeps the signal's variance, the last one multiplies it by `gain²`."""
        parts = list(self)
        for part in parts:
            reset_part(part, gain if part is parts[-1] else 1.0)


class ZeroRank(Factored):
    """A layer of rank 0: it returns the bias of `dense` (zeros if it has none) for every input."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        if not isinstance(dense, (*LAYER_TYPES, *TRANSPOSED)):
            raise ValueError(wrong_kind(dense))
        self.num_outputs = dense.weight.shape[1 if isinstance(dense, TRANSPOSED) else 0]
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


def dense_of(part: nn.Module) -> Any:
    """Return a part of a factored layer as a linear layer or convolution: a part may itself have been compressed."""
    if not isinstance(part, Factored):
        return part
    if not callable(to_dense := getattr(part, "to_dense", None)):
        raise ValueError(f"a part of this layer is a {type(part).__name__}, which equals no dense layer")
    return to_dense()


@torch.no_grad()
def reset_part(part: nn.Module, gain: float) -> None:
    """Draw the weight of a part anew, so that it multiplies the signal's variance by `gain²`; its bias becomes 0."""
    if isinstance(part, Factored):
        part.reset(gain)
        return
    weight = part.get_parameter("weight")
    # Transposed it is (in, out, *kernel), and an output sees one in prod(stride) weights of the kernel.
    fan_in = weight[:, 0].numel() / math.prod(part.stride) if isinstance(part, TRANSPOSED) else weight[0].numel()
    nn.init.normal_(weight, std=gain / math.sqrt(fan_in))
    if isinstance(part.bias, Tensor):
        nn.init.zeros_(part.bias)


def initialise(network: nn.Module, gain: float = 2**0.5) -> list[str]:
    """Draw the factors of every compressed layer of `network` anew, in place; return the names of these layers.

    Each contraction inside a layer keeps the signal's variance, the last multiplies it by `gain²` [HZRS15]: √2 before
    a ReLU, 1 before nothing. Inside a nonlinear tensor train the gain of its activation is added. Biases become 0.
    The numbers are those of torch's generator: `torch.manual_seed` makes them repeat.

    [HZRS15] He, Zhang, Ren & Sun, Delving deep into rectifiers, ICCV 2015.
    """
    names: list[str] = []
    for name, layer in network.named_modules():
        if isinstance(layer, Factored) and not is_inside(name, names):
            layer.reset(gain)  # those that are its parts too
            names.append(name)
    return names


def is_inside(name: str, outer: Sequence[str]) -> bool:
    """Return True if a module of this name is a part of one of the `outer` ones."""
    return any(name.startswith(f"{other}.") for other in outer)
