"""Unfused window attention: what torchvision's Swin transformers V1 and V2 compute, with layers that are called.

Torchvision's `ShiftedWindowAttention` reads the weights of its layers `qkv` and `proj` and never calls them. Unfused,
the children are `q`, `k`, `v` and `proj`, or `qkv` and `proj`. An image is cut into windows, after it was rolled by
`shift_size`; positions attend to those of their window that were neighbours before the roll [Liu21]:

    V1: softmax(q kᵀ / √d + bias + mask) v            V2: softmax(s cos(q, k) + bias + mask) v, k without a bias [Liu22]

[Liu21] Liu et al., Swin transformer, ICCV 2021.
[Liu22] Liu et al., Swin transformer V2, CVPR 2022.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from decompositions.layers.parts import linear_with, thirds

FAR = -100.0  # what is added to the scores of positions that were no neighbours


class UnfusedWindowAttention(nn.Module):
    """A `ShiftedWindowAttention` of torchvision, V1 or V2, whose weights are called."""

    relative_position_index: Tensor

    def __init__(self, layer: Any, joint_qkv: bool = False) -> None:
        """Take over the parameters and buffers of `layer`, the same objects but q, k and v, and its options."""
        super().__init__()
        self.window_size, self.shift_size = list(layer.window_size), list(layer.shift_size)
        self.num_heads = layer.num_heads
        self.attention_dropout, self.dropout = layer.attention_dropout, layer.dropout
        self.joint_qkv = joint_qkv
        if joint_qkv:
            self.qkv = layer.qkv
        else:
            for part, weight, bias in zip("qkv", thirds(layer.qkv.weight), thirds(layer.qkv.bias), strict=True):
                assert weight is not None
                self.add_module(part, linear_with(weight, bias))
        self.proj = layer.proj
        self.register_buffer("relative_position_index", layer.relative_position_index)
        self.is_cosine = hasattr(layer, "logit_scale")
        if self.is_cosine:
            self.logit_scale, self.cpb_mlp = layer.logit_scale, layer.cpb_mlp
            self.register_buffer("relative_coords_table", layer.relative_coords_table)
        else:
            self.relative_position_bias_table = layer.relative_position_bias_table
        self.train(layer.training)

    def extra_repr(self) -> str:
        """Show windows, their shift, and the heads."""
        return f"window_size={self.window_size}, shift_size={self.shift_size}, num_heads={self.num_heads}"

    def get_relative_position_bias(self) -> Tensor:
        """Return the learned bias of the scores, `(1, head, position, position)`."""
        if self.is_cosine:
            table = self.cpb_mlp(self.relative_coords_table).view(-1, self.num_heads)
        else:
            table = self.relative_position_bias_table
        num = math.prod(self.window_size)
        bias = table[self.relative_position_index].view(num, num, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
        return 16 * torch.sigmoid(bias) if self.is_cosine else bias

    def forward(self, x: Tensor) -> Tensor:
        """Map `(batch, height, width, channel)` to the same shape."""
        batch, height, width, _ = x.shape
        rows, columns = self.window_size
        x = functional.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        padded = x.shape[1], x.shape[2]
        # A window as large as the image has nothing to be shifted to.
        sizes = zip(self.window_size, padded, self.shift_size, strict=True)
        shift = [0 if window >= size else by for window, size, by in sizes]
        if sum(shift) > 0:
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        x = self._attend(_windows(x, rows, columns), padded, shift)
        x = functional.dropout(x, self.dropout, self.training)
        x = x.reshape(batch, padded[0] // rows, padded[1] // columns, rows, columns, -1).transpose(2, 3)
        x = x.reshape(batch, *padded, -1)
        if sum(shift) > 0:
            x = torch.roll(x, (shift[0], shift[1]), (1, 2))
        return x[:, :height, :width].contiguous()

    def _attend(self, x: Tensor, padded: tuple[int, int], shift: list[int]) -> Tensor:
        """Let the positions of each window attend to one another: `(window, position, channel)` to the same shape."""
        q, k, v = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in self._projected(x))
        if self.is_cosine:
            scores = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(2, 3)
            scores = scores * torch.clamp(self.logit_scale, max=math.log(100.0)).exp()
        else:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        scores = scores + self.get_relative_position_bias()  # (window, head, position, position)
        if sum(shift) > 0:
            mask = self._mask(padded, shift, x)
            scores = (scores.unflatten(0, (-1, len(mask))) + mask.unsqueeze(1)).flatten(0, 1)
        weights = functional.dropout(functional.softmax(scores, dim=-1), self.attention_dropout, self.training)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v; in V2 the bias of k takes no part, though the layer has one."""
        parts = [self.get_submodule(name) for name in (("qkv",) if self.joint_qkv else ("q", "k", "v"))]
        q, k, v = parts[0](x).chunk(3, -1) if self.joint_qkv else [part(x) for part in parts]
        bias = parts[0].bias if self.joint_qkv else parts[1].bias
        if self.is_cosine and isinstance(bias, Tensor):
            k = k - (bias.chunk(3)[1] if self.joint_qkv else bias)
        return q, k, v

    def _mask(self, padded: tuple[int, int], shift: list[int], x: Tensor) -> Tensor:
        """Return what is added to the scores of each window of one image, `(window, position, position)`."""
        regions = []  # rows and columns of the rolled image: those before, in, and behind the seam
        for size, window, by in zip(padded, self.window_size, shift, strict=True):
            place = torch.arange(size, device=x.device)
            behind = (place >= size - window).int() + (place >= size - by).int()
            regions.append(behind if by else torch.zeros_like(behind))
        region = 3 * regions[0].unsqueeze(1) + regions[1]
        region = _windows(region[None, :, :, None], *self.window_size).squeeze(2)  # (window, position)
        apart = region.unsqueeze(1) != region.unsqueeze(2)
        return torch.zeros_like(apart, dtype=x.dtype).masked_fill_(apart, FAR)


def _windows(x: Tensor, rows: int, columns: int) -> Tensor:
    """Cut `(batch, height, width, channel)` into windows, `(batch · window, position, channel)`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // rows, rows, width // columns, columns, channels).transpose(2, 3)
    return x.reshape(-1, rows * columns, channels)
