"""Layers one after another that equal one dense layer: each kernel axis belongs to one of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from decompositions.convolution import CONVOLUTIONS
from decompositions.factored import Factored


class InRow(Factored, nn.Sequential):
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
