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

See = Callable[[str, nn.Module, Tensor, Tensor], None]


@contextmanager
def watching(sites: Mapping[str, Site], see: See) -> Iterator[None]:
    """Call `see(name, layer, input, output)` whenever a layer of `sites` is called inside the block."""

    def hook(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        see(name, layer, inputs[0], output)

    handles = [site.layer.register_forward_hook(partial(hook, name)) for name, site in sites.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_inputs(network: nn.Module, batches: Batches, num_samples: int) -> int:
    """Pass inputs through the network, in evaluation mode and without gradients; return how many samples they were.

    It stops after the batch with which they are `num_samples`. Raises `ValueError` if there is no batch.
    """
    num = 0
    with evaluating(network), torch.no_grad():
        for x, _ in pairs(network, batches, num_samples):
            network(x)
            num += len(x)
    return num


def run_losses(
    network: nn.Module, batches: Batches, num_samples: int, after: Callable[[int], None] = lambda num: None
) -> int:
    """Back-propagate the summed cross-entropy of each batch; call `after(samples)`; return how many samples in all.

    It stops as `run_inputs` does. Raises `ValueError` for batches without labels. Gradients that the network had are
    kept apart.
    """
    num, kept = 0, [parameter.grad for parameter in network.parameters()]
    try:
        with evaluating(network), torch.enable_grad():
            for x, labels in pairs(network, batches, num_samples):
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


def count_over_processes(num: int, all_reduce: Callable[[Tensor], Tensor]) -> int:
    """Return the sum of `num` over the processes that share the data."""
    return round(float(all_reduce(torch.tensor(float(num), dtype=torch.float64))))


def pairs(network: nn.Module, batches: Batches, num_samples: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield `(inputs, labels)` on the network's device, up to the batch with which they are `num_samples`.

    Raises `ValueError` if there is no batch.
    """
    device = next((tensor.device for tensor in chain(network.parameters(), network.buffers())), torch.device("cpu"))
    num = 0
    for batch in batches:
        x, labels = (batch, None) if isinstance(batch, Tensor) else batch[:2]
        yield x.to(device), None if labels is None else labels.to(device)
        if (num := num + len(x)) >= num_samples:
            return
    if num == 0:
        raise ValueError("metric: expected at least one batch of calibration data, got none")
