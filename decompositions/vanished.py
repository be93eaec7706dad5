"""Rank 0: a layer whose weight vanished and whose output is its bias, at the positions the dense layer would have."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Vanished(nn.Module):
    """Output the bias of `dense` (zeros without one) in the shape of its output; the input's values are not read."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        weight = dense.weight
        assert isinstance(weight, Tensor)
        self.num_outputs = weight.shape[0]
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        self.is_convolution = not isinstance(dense, nn.Linear)
        if self.is_convolution:
            spans = [d * (k - 1) for d, k in zip(dense.dilation, dense.kernel_size, strict=True)]
            self.stride = dense.stride
            # Positions lost per dimension: span minus what padding gives back.
            self.lost = [0] * len(spans) if dense.padding == "same" else [
                span - 2 * pad for span, pad in zip(spans, _padding(dense), strict=True)
            ]

    def forward(self, x: Tensor) -> Tensor:
        """Shape `(…, in)` to `(…, out)`, or `(batch, in, *size)` to `(batch, out, *size')`."""
        bias = x.new_zeros(self.num_outputs) if self.bias is None else self.bias
        if not self.is_convolution:
            return bias.expand(*x.shape[:-1], self.num_outputs)
        sizes = [(n - lost - 1) // s + 1 for n, lost, s in zip(x.shape[2:], self.lost, self.stride, strict=True)]
        return bias.reshape(1, -1, *[1] * len(sizes)).expand(x.shape[0], -1, *sizes)


def _padding(dense: nn.Module) -> tuple[int, ...]:
    padding = dense.padding
    if padding == "valid":
        return (0,) * len(dense.kernel_size)  # type: ignore[arg-type]
    assert isinstance(padding, tuple) and not isinstance(padding, torch.Tensor)
    return padding
