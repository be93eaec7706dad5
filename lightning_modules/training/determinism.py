"""Name the layers of a network whose bits cannot repeat on a GPU, before anything trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

# Operators of a forward pass, and what torch's own list calls them. Adaptive pooling to one number is a mean.
NAMES = {
    "avg_pool3d": "AvgPool3d",
    "max_pool3d_with_indices": "MaxPool3d",
    "_adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "_adaptive_avg_pool3d": "AdaptiveAvgPool3d",
    "adaptive_max_pool2d": "AdaptiveMaxPool2d",
    "fractional_max_pool2d": "FractionalMaxPool2d",
    "fractional_max_pool3d": "FractionalMaxPool3d",
    "max_unpool2d": "MaxUnpool2d",
    "max_unpool3d": "MaxUnpool3d",
    "reflection_pad1d": "ReflectionPad1d",
    "reflection_pad2d": "ReflectionPad2d",
    "reflection_pad3d": "ReflectionPad3d",
    "replication_pad1d": "ReplicationPad1d",
    "replication_pad2d": "ReplicationPad2d",
    "replication_pad3d": "ReplicationPad3d",
    "upsample_linear1d": "interpolate",
    "upsample_bilinear2d": "interpolate",
    "upsample_bicubic2d": "interpolate",
    "upsample_trilinear3d": "interpolate",
    "grid_sampler_2d": "grid_sample",
    "grid_sampler_3d": "grid_sample",
}


def refuse_irreproducible(network: nn.Module, input_shape: Sequence[int]) -> None:
    """Raise `ValueError` that names what in `network`, on the CPU, has no gradient whose bits repeat on a GPU."""
    refused = _refused_by_torch()
    found = {module or "the network": NAMES[name] for module, name in _used(network, input_shape) if name in refused}
    if found:
        layers = ", ".join(f"{operator} in {module}" for module, operator in found.items())
        raise ValueError(
            f"deterministic=true: on a GPU the bits of these gradients do not repeat: {layers}; take "
            "trainer.deterministic=false, trainer.accelerator=cpu, or a network without them"
        )


def _refused_by_torch() -> set[str]:
    """Return the operators for which the installed torch raises an error; all if it does not say."""
    text = torch.use_deterministic_algorithms.__doc__ or ""
    _, _, refused = text.partition("normally-nondeterministic operations will throw")
    return {name for name, known in NAMES.items() if not refused or f".{known}`" in refused}


def _used(network: nn.Module, input_shape: Sequence[int]) -> list[tuple[str, str]]:
    """Return the names of operators of a pass, each with that of the innermost module that used it."""
    inside, used = [""], list[tuple[str, str]]()

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            used.append((inside[-1], func._overloadpacket.__name__))
            return func(*args, **(kwargs or {}))

    def leave(*passed: Any) -> None:
        inside.pop()

    hooks = []
    for name, module in network.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *passed, name=name: inside.append(name)))
        hooks.append(module.register_forward_hook(leave))
    try:
        with torch.no_grad(), Record():
            network(torch.zeros(2, *input_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return used
