"""The vectors with which a layer multiplies its weight as a matrix."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

# The patches of so many numbers are in memory at a time: 256 MiB in float64.
CHUNK = 2**25


def patches(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the vectors with which a layer multiplies its weight as a matrix: `(positions, in·kernel)`, in float64.

    Those of a convolution have its own stride, padding, padding mode and dilation; the output is `patches @ Wᵀ + bias`.

    >>> import torch
    >>> layer, x = nn.Conv2d(3, 5, (2, 3), stride=2, padding=1, padding_mode="reflect"), torch.randn(4, 3, 8, 9)
    >>> rows = patches(layer, x) @ layer.weight.flatten(1).double().T + layer.bias.double()
    >>> torch.allclose(rows, layer(x).double().movedim(1, -1).reshape(-1, 5), atol=1e-5)
    True
    """
    x = x.detach().double()
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, layer.in_features)
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    num = len(layer.kernel_size)
    x = x.reshape(-1, *x.shape[-num - 1 :])
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    for axis in range(num):
        reach = (layer.kernel_size[axis] - 1) * layer.dilation[axis] + 1
        x = x.unfold(2 + axis, reach, layer.stride[axis])[..., :: layer.dilation[axis]]
    positions = x.movedim(1, 1 + num)  # (batch, *positions, in, *kernel)
    return positions.reshape(-1, layer.in_channels * positions[0, *[0] * num, 0].numel())


def patches_in_parts(layer: nn.Module, x: Tensor, output: Tensor) -> Iterator[Tensor]:
    """Yield `patches(layer, x)` a few samples at a time."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if not isinstance(layer, nn.Linear) and x.ndim < weight.ndim:  # one sample, without a batch
        x, output = x[None], output[None]
    num_positions = output.numel() // len(weight) if isinstance(layer, nn.Linear) else output[:, :1].numel()
    per_sample = max(num_positions // len(x), 1) * weight[0].numel()
    for part in x.split(max(CHUNK // per_sample, 1)):
        yield patches(layer, part)
