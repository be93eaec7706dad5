"""One pass over calibration data, with hooks on the layers: what they get, and what the loss says of what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from decompositions.core.metric import Batches, Reduce
from decompositions.core.site import Site
from evaluation.modes import device_of, evaluating

See = Callable[[str, nn.Module, Tensor, Tensor], None]


@contextmanager
def watching(sites: Mapping[str, Site], see: See) -> Iterator[None]:
    """Call `see(name, layer, input, output)` whenever a layer of `sites` is called inside the block."""

    def hook(name: str, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        see(name, layer, inputs[0] if inputs else named["input"], output)

    handles = [site.layer.register_forward_hook(partial(hook, name), with_kwargs=True) for name, site in sites.items()]
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
            outputs_of(network, x)
            num += len(x)
    return num


def run_losses(
    network: nn.Module, batches: Batches, num_samples: int, after: Callable[[int], None] = lambda num: None
) -> int:
    """Back-propagate the summed cross-entropy of each batch; call `after(samples)`; return how many samples in all.

    It stops as `run_inputs` does. Raises `ValueError` for batches without labels, or whose labels do not fit the
    outputs. Gradients that the network had are kept apart; frozen parameters get some for the time being, for the
    layers before and of them.
    """
    if torch.is_inference_mode_enabled():
        raise ValueError("metric: this one needs gradients, which torch.inference_mode does not allow; leave it before")
    num, kept = 0, [(parameter.grad, parameter.requires_grad) for parameter in network.parameters()]
    # cuDNN has no gradients of a fused recurrent layer in evaluation mode.
    has_recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    fused = torch.backends.cudnn.flags(enabled=False) if has_recurrent else nullcontext()
    try:
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        with evaluating(network), torch.enable_grad(), fused:
            for x, labels in pairs(network, batches, num_samples):
                if labels is None:
                    raise ValueError("metric: expected calibration batches (inputs, labels), got inputs alone")
                network.zero_grad(set_to_none=True)
                _summed_loss(outputs_of(network, x), labels).backward()
                after(len(x))
                num += len(x)
    finally:
        for parameter, (gradient, requires_grad) in zip(network.parameters(), kept, strict=True):
            parameter.grad = gradient
            parameter.requires_grad_(requires_grad)
    return num


def outputs_of(network: nn.Module, x: Tensor) -> Any:
    """Return `network(x)`; raises `ValueError` with the shape and type of inputs on which the network fails."""
    try:
        return network(x)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, IndexError, AttributeError, NotImplementedError) as error:
        raise ValueError(
            f"metric: the network fails on calibration inputs of shape {tuple(x.shape)} and type {x.dtype}: {error}"
        ) from error


def _summed_loss(outputs: Any, labels: Tensor) -> Tensor:
    """Return the summed cross-entropy; raises `ValueError` that names the shapes where it has none."""
    if not isinstance(outputs, Tensor):
        kind = type(outputs).__name__
        raise ValueError(f"metric: expected a network that returns scores, (samples, classes), got a {kind}")
    try:
        if labels.is_floating_point() and not torch.allclose(labels.clamp(min=0).sum(1), labels.new_ones(len(labels))):
            raise ValueError("floats are the probabilities of the classes, which sum to 1")
        return F.cross_entropy(outputs, labels, reduction="sum")
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(
            f"metric: no cross-entropy of scores {tuple(outputs.shape)} and labels {tuple(labels.shape)} of type "
            f"{labels.dtype}; expected classes from 0, one for each sample: {error}"
        ) from error


def count_over_processes(num: int, all_reduce: Reduce) -> int:
    """Return the sum of `num` over the processes that share the data."""
    return round(float(all_reduce(torch.tensor(float(num), dtype=torch.float64))))


def pairs(network: nn.Module, batches: Batches, num_samples: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield `(inputs, labels)` on the network's device, up to the batch with which they are `num_samples`.

    The inputs are detached: no gradient is left in a tensor of the caller's.

    Raises `ValueError` if there is no batch.
    """
    device, num = device_of(network), 0
    for batch in batches:
        x, labels = _split(batch)
        if not x.ndim or not len(x):
            raise ValueError(f"metric: expected batches with at least one sample, got inputs of shape {tuple(x.shape)}")
        yield x.detach().to(device), None if labels is None else labels.to(device)
        if (num := num + len(x)) >= num_samples:
            return
    if num == 0:
        raise ValueError("metric: expected at least one batch of calibration data, got none")


def _split(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Return inputs and labels, None where there are none."""
    if isinstance(batch, Tensor):
        return batch, None
    tensors = isinstance(batch, tuple | list) and batch and all(isinstance(part, Tensor) for part in batch[:2])
    if tensors:
        return batch[0], batch[1] if len(batch) > 1 else None
    kinds = [type(part).__name__ for part in batch] if isinstance(batch, tuple | list) else type(batch).__name__
    raise ValueError(f"metric: expected batches of inputs, or (inputs, labels), as tensors, got {kinds}")
