"""Transposed convolutions: a format writes the weight of the convolution whose adjoint they are.

A transposed convolution with the weight `(in, out, *kernel)` is the adjoint of the convolution with this weight, which
maps `in` and `out` the other way. The adjoint of a sequence is the sequence of the adjoints, from the last to the
first, with as many parameters and multiply-adds. So a format needs to know nothing of them, if its layers are
sequences of convolutions.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from decompositions.core.format import Format
from decompositions.layers.base import Factored, FactoredSequential, ZeroRank, dense_of
from decompositions.layers.geometry import CONVOLUTIONS, TRANSPOSED, wrong_kind


class TransposedSequential(FactoredSequential):
    """Transposed convolutions without activations between them; the last one has the bias."""

    def to_dense(self) -> nn.Module:
        """Return one transposed convolution that computes the same; raise `ValueError` if a part equals none."""
        parts = [dense_of(part) for part in self]
        dense = FactoredSequential(*(_convolution_of(part) for part in reversed(parts))).to_dense()
        padding = tuple(map(max, zip(*(part.output_padding for part in parts), strict=True)))
        return _adjoint_of(dense, padding, parts[-1].bias)


def layer_in_place_of(format: Format, dense: nn.Module, factors: Any) -> nn.Module:
    """Build the layer of `format` with these factors; of a transposed convolution, the adjoint of its convolution's.

    Raises `ValueError` if `dense` is of a kind that no format replaces.
    """
    if not isinstance(dense, TRANSPOSED):
        return format.layer(dense, factors)
    layer = format.layer(_convolution_of(dense), factors)
    if isinstance(layer, ZeroRank):
        return ZeroRank(dense)
    if not isinstance(layer, FactoredSequential):
        raise ValueError(f"{type(format).__name__} has no form of a transposed convolution")
    parts = list(layer)[::-1]
    bias = dense.bias if isinstance(dense.bias, nn.Parameter) else None
    return TransposedSequential(
        *(_adjoint_of(part, _output_padding(part, dense), bias if part is parts[-1] else None) for part in parts)
    )


def _convolution_of(dense: Any) -> nn.Module:
    """Return the convolution, without a bias, whose adjoint a transposed convolution is."""
    kind: Any = next((c for c, t in zip(CONVOLUTIONS, TRANSPOSED, strict=True) if isinstance(dense, t)), None)
    if kind is None or isinstance(dense, Factored):
        raise ValueError(wrong_kind(dense))
    convolution = kind(
        dense.out_channels, dense.in_channels, dense.kernel_size, dense.stride, dense.padding, dense.dilation,
        dense.groups, bias=False, device="meta",
    )  # fmt: skip
    convolution.weight = nn.Parameter(dense.weight.detach(), requires_grad=False)
    return convolution


def _adjoint_of(part: Any, output_padding: tuple[int, ...], bias: nn.Parameter | None) -> nn.Module:
    """Return the transposed convolution that is the adjoint of a convolution, with this bias."""
    kind: Any = next(t for c, t in zip(CONVOLUTIONS, TRANSPOSED, strict=True) if isinstance(part, c))
    adjoint = kind(
        part.out_channels, part.in_channels, part.kernel_size, part.stride, part.padding, output_padding, part.groups,
        bias=bias is not None, dilation=part.dilation, device="meta",
    )  # fmt: skip
    adjoint.weight = nn.Parameter(part.weight.detach().clone())
    if bias is not None:
        adjoint.bias = nn.Parameter(bias.detach().to(part.weight.dtype).clone())
    return adjoint


def _output_padding(part: Any, dense: Any) -> tuple[int, ...]:
    """Return the share of a part: on each axis one of them has the stride and dilation of `dense`."""
    ours, all_ = (list(zip(layer.stride, layer.dilation, strict=True)) for layer in (part, dense))
    return tuple(
        padding if own == whole and own != (1, 1) else 0
        for padding, own, whole in zip(dense.output_padding, ours, all_, strict=True)
    )
