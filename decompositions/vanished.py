"""Rank 0: a layer whose weight vanished and whose output is its bias, at the positions the dense layer would have."""

from __future__ import annotations

from torch import Tensor, nn

from decompositions.convolution import wrong_kind


class Vanished(nn.Module):
    """Output the bias of `dense` (zeros without one) in the shape of its output; the input's values are not read."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            raise ValueError(wrong_kind(dense))
        self.num_outputs = dense.weight.shape[0]
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        self.strides: tuple[int, ...] | None = None  # of a convolution
        if not isinstance(dense, nn.Linear):
            self.strides = tuple(dense.stride)
            spans = [d * (k - 1) for d, k in zip(dense.dilation, dense.kernel_size, strict=True)]
            if isinstance(dense.padding, str):  # "same" gives back on both sides together what the kernel spans
                paddings = spans if dense.padding == "same" else [0] * len(spans)
            else:
                paddings = [2 * padding for padding in dense.padding]
            self.lost = [span - padding for span, padding in zip(spans, paddings, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """Shape `(…, in)` to `(…, out)`, or `(batch, in, *size)` to `(batch, out, *size')`."""
        bias = x.new_zeros(self.num_outputs) if self.bias is None else self.bias
        if self.strides is None:
            return bias.expand(*x.shape[:-1], self.num_outputs).contiguous()
        sizes = [(n - lost - 1) // s + 1 for n, lost, s in zip(x.shape[2:], self.lost, self.strides, strict=True)]
        return bias.reshape(1, -1, *[1] * len(sizes)).expand(x.shape[0], -1, *sizes).contiguous()
