"""Your own network: an importable class or function that the configuration names."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from runtime.imports import Untrusted, import_named
from runtime.own_modules import hidden_by_own


def custom(input_shape: Sequence[int], num_classes: int, target: str, arguments: dict[str, Any]) -> nn.Module:
    """Call `target`, a dotted path, with `arguments`, plus `input_shape` and `num_classes` if it has such parameters.

    A target that takes `**kwargs` gets nothing but `arguments`: put the number of classes there. Raises `ValueError` in
    one line if the target cannot be imported, does not take the arguments, or returns no module; one of Python's own
    library, or a class that is no module, is not called.
    """
    try:
        builder = import_named(target)
    except Untrusted as error:
        raise ValueError(f"network.target: {error}; expected a class or a function that builds a network") from None
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"network.target: '{target}' cannot be imported ({error}); is its folder on the path (PYTHONPATH=.)?"
            f"{hidden_by_own(target)}"
        ) from None
    if isinstance(builder, nn.Module):
        raise ValueError(f"network.target: expected {target} to be a class or a function, got a network")
    if isinstance(builder, type) and not issubclass(builder, nn.Module):
        raise ValueError(f"network.target: expected {target} to be an nn.Module, or a function that builds one")
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
