"""Anybody's own network: a class or function that can be imported, named in the configuration."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn


def custom(input_shape: Sequence[int], num_classes: int, target: str, arguments: dict[str, Any]) -> nn.Module:
    """Call `target`, a dotted path, with `arguments`; also with the shape and the number of classes, if it names them.

    What it takes as `**kwargs` the `arguments` must say, the number of classes too.
    Raises `ValueError` in one line if it cannot be imported, called so, or returns no module.
    """
    module, _, name = target.rpartition(".")
    try:
        builder = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"network.target: '{target}' cannot be imported ({error}); is it on the path?") from None
    known = {"input_shape": list(input_shape), "num_classes": num_classes}
    try:
        parameters = inspect.signature(builder).parameters
        taken = {key: value for key, value in known.items() if key in parameters} | dict(arguments)
        inspect.signature(builder).bind(**taken)
    except (TypeError, ValueError) as error:
        raise ValueError(f"network.arguments: {target} does not take them ({error})") from None
    network = builder(**taken)
    if not isinstance(network, nn.Module):
        raise ValueError(f"network.target: expected {target} to return an nn.Module, got {type(network).__name__}")
    return network
