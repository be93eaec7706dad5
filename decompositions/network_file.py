"""One file that holds a network, compressed or not, and the function that makes it work again in a fresh process."""

from __future__ import annotations

import importlib
import os
import pickle
import struct
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from decompositions.replace import Structure, restore

FILE_VERSION = 1


def save_network(path: str | Path, network: nn.Module, builder: dict[str, Any], structure: Structure) -> None:
    """Write `network` to `path` in one atomic step.

    `builder` is `{"target": dotted path, "arguments": {...}}` of the function that builds the dense network;
    `structure` says which layers were replaced (see `replace.describe`).
    """
    state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    content = {"version": FILE_VERSION, "builder": builder, "structure": structure, "state": state}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_network(path: str | Path) -> nn.Module:
    """Load a working network, in evaluation mode, on the CPU.

    The file names the Python function that builds the dense network, which is imported and called: load only files
    whose origin you trust. Raises `ValueError` for a file that is not one of these, `FileNotFoundError` for none.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, struct.error, KeyError) as error:
        raise ValueError(f"{path}: not a network file, or damaged ({type(error).__name__})") from None
    if not isinstance(content, dict) or content.get("version") != FILE_VERSION:
        raise ValueError(f"{path}: expected a network file of version {FILE_VERSION}, as save_network writes")
    module, _, name = content["builder"]["target"].rpartition(".")
    network = getattr(importlib.import_module(module), name)(**content["builder"]["arguments"])
    network = restore(network, content["structure"])
    network.load_state_dict(content["state"])
    return network.eval()
