"""Rank 0: a layer whose weight vanished and whose output is its bias, at the positions the dense layer would have."""

from __future__ import annotations

from torch import Tensor, nn

from decompositions.convolution import Geometry, wrong_kind
from decompositions.factored import Factored


class Vanished(Factored):
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
