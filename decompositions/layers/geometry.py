"""The small layers that take a dense layer's place: each carries part of its geometry, together they carry all.

A convolution over several kernel axes may be cut into convolutions over some of them: stride, padding, padding mode and
dilation of an axis go with the axis, and all padding modes act on each axis alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYER_TYPES = (nn.Linear, *CONVOLUTIONS)


def wrong_kind(layer: nn.Module) -> str:
    """Return the error message for a layer that is neither linear nor a convolution."""
    return f"formats replace linear and convolution layers, got {type(layer).__name__}"


def part_of(
    dense: nn.Module, axes: Sequence[int], weight: Tensor, bias: Tensor | None = None, groups: int = 1
) -> nn.Module:
    """Build a layer with this `weight`, `(out, in / groups, *kernel sizes of axes)`, that does a part of `dense`.

    On the kernel `axes` it has the geometry of `dense`, on the others size and stride are 1. If `dense` is linear, so
    is the layer. Raises `ValueError` if `dense` is neither linear nor a convolution.

    >>> dense = nn.Conv2d(4, 8, (3, 5), stride=2, padding=(1, 2))
    >>> part_of(dense, axes=[1], weight=torch.zeros(6, 4, 5))
    Conv2d(4, 6, kernel_size=(1, 5), stride=(1, 2), padding=(0, 2), bias=False)
    """
    if isinstance(dense, nn.Linear):
        return linear_of(weight, bias)
    if not isinstance(dense, CONVOLUTIONS):
        raise ValueError(wrong_kind(dense))

    kind: Any = next(kind for kind in CONVOLUTIONS if isinstance(dense, kind))
    layer = kind(
        weight.shape[1] * groups,
        weight.shape[0],
        kernel_size=_chosen(axes, dense.kernel_size, 1),
        stride=_chosen(axes, dense.stride, 1),
        padding=dense.padding if isinstance(dense.padding, str) else _chosen(axes, dense.padding, 0),
        dilation=_chosen(axes, dense.dilation, 1),
        padding_mode=dense.padding_mode if axes else "zeros",
        groups=groups,
        bias=bias is not None,
        device=weight.device,
        dtype=weight.dtype,
    )
    with torch.no_grad():
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def with_bias(layer: nn.Module, bias: Tensor) -> nn.Module:
    """Return a copy of a layer with a bias, with another one."""
    layer = copy.deepcopy(layer)
    layer.get_parameter("bias").data.copy_(bias)
    return layer


def _chosen(axes: Sequence[int], values: Sequence[int], other: int) -> tuple[int, ...]:
    return tuple(value if axis in axes else other for axis, value in enumerate(values))


@torch.no_grad()
def linear_of(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """Build a linear layer with copies of this weight, `(out, in)`, and bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device=weight.device, dtype=weight.dtype)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer


@dataclass(frozen=True)
class Geometry:
    """The change of sizes by a convolution: an axis loses `lost` positions, then every `strides`-th is kept.

    A transposed one does the opposite, and adds `output_padding` positions.
    """

    strides: tuple[int, ...]
    lost: tuple[int, ...]
    output_padding: tuple[int, ...] | None = None

    @classmethod
    def of(cls, dense: Any) -> Geometry:
        """Read stride, dilation, kernel and padding of a convolution, transposed or not."""
        spans = [d * (k - 1) for d, k in zip(dense.dilation, dense.kernel_size, strict=True)]
        if isinstance(dense.padding, str):  # "same" gives back on both sides together what the kernel spans
            paddings = spans if dense.padding == "same" else [0] * len(spans)
        else:
            paddings = [2 * padding for padding in dense.padding]
        lost = tuple(span - pad for span, pad in zip(spans, paddings, strict=True))
        return cls(tuple(dense.stride), lost, tuple(dense.output_padding) if isinstance(dense, TRANSPOSED) else None)

    def after(self, sizes: Sequence[Any]) -> list[Any]:
        """Return the sizes of the output for inputs of `sizes`: ints, or tensors where torch.jit traces."""
        if self.output_padding is None:
            return [(n - lost - 1) // s + 1 for n, lost, s in zip(sizes, self.lost, self.strides, strict=True)]
        axes = zip(sizes, self.lost, self.strides, self.output_padding, strict=True)
        return [(n - 1) * s + lost + 1 + padding for n, lost, s, padding in axes]


def positions_between(calls: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], axes: Sequence[int]) -> int:
    """Count the positions after a part that did only the kernel `axes`: output sizes there, input sizes elsewhere."""
    total = 0
    for before, after in calls:
        num = 1
        for axis, (size_before, size_after) in enumerate(zip(before, after, strict=True)):
            num *= size_after if axis in axes else size_before
        total += num
    return total
