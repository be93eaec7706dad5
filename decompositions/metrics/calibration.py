"""One pass over calibration data, with hooks on the layers: what they get, and what the loss says of what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decompositions.core.metric import Batches
from decompositions.core.site import Site


def patches(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the vectors with which a layer multiplies its weight as a matrix: `(positions, in·kernel)`, in float64.

    Those of a convolution have its own stride, padding, padding mode and dilation; the output is `patches @ Wᵀ + bias`.

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


@contextmanager
def watching(sites: Mapping[str, Site], see: Callable[[str, nn.Module, Tensor, Tensor], None]) -> Iterator[None]:
    """Call `see(name, layer, input, output)` whenever a layer of `sites` is called inside the block."""

    def hook(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        see(name, layer, inputs[0], output)

    handles = [site.layer.register_forward_hook(partial(hook, name)) for name, site in sites.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_inputs(network: nn.Module, batches: Batches) -> int:
    """Pass all inputs through the network, in evaluation mode and without gradients; return how many samples."""
    num = 0
    with evaluating(network), torch.no_grad():
        for x, _ in _pairs(network, batches):
            network(x)
            num += len(x)
    return num


def run_losses(network: nn.Module, batches: Batches, after: Callable[[int], None] = lambda num: None) -> int:
    """Back-propagate the summed cross-entropy of each batch; call `after(samples)`; return how many samples in all.

    Raises `ValueError` for batches without labels. Gradients that the network had are kept apart.
    """
    num, kept = 0, [parameter.grad for parameter in network.parameters()]
    try:
        with evaluating(network), torch.enable_grad():
            for x, labels in _pairs(network, batches):
                if labels is None:
                    raise ValueError("metric: expected calibration batches (inputs, labels), got inputs alone")
                network.zero_grad(set_to_none=True)
                F.cross_entropy(network(x), labels, reduction="sum").backward()
                after(len(x))
                num += len(x)
    finally:
        for parameter, gradient in zip(network.parameters(), kept, strict=True):
            parameter.grad = gradient
    return num


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Keep the network in evaluation mode inside the block."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _pairs(network: nn.Module, batches: Batches) -> Iterator[tuple[Tensor, Tensor | None]]:
    device = next((tensor.device for tensor in chain(network.parameters(), network.buffers())), torch.device("cpu"))
    for batch in batches:
        x, labels = (batch, None) if isinstance(batch, Tensor) else batch[:2]
        yield x.to(device), None if labels is None else labels.to(device)
