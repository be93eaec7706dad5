"""One file that holds a network, compressed or not, and the function that makes it work again in a fresh process."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from decompositions.network.structure import Structure, restore
from runtime.atomic import atomic_write
from runtime.messages import first_line

FILE_VERSION = 1


def build_network(builder: dict[str, Any]) -> Any:
    """Import the function `builder["target"]`, a dotted path, and call it with `builder["arguments"]`."""
    module, _, name = builder["target"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**builder["arguments"])


def save_network(path: str | Path, network: nn.Module, builder: dict[str, Any], structure: Structure) -> None:
    """Write `network` to `path`, whole or not at all; raises `OSError` if it cannot be written.

    `builder` is `{"target": dotted path, "arguments": {...}}` of the function that builds the dense network;
    `structure` says which layers were replaced (`CompressionReport.structure`, or see `structure.describe`).
    """
    state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    content = {"version": FILE_VERSION, "builder": builder, "structure": structure, "state": state}
    with atomic_write(Path(path)) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # how torch says that the disk is full
            raise OSError(f"{path}: cannot be written ({_reason(error)})") from None


def load_network(path: str | Path) -> nn.Module:
    """Load the network that `save_network` wrote: in evaluation mode, on the CPU.

    The file names the Python function that builds the dense network, which is imported and called: load only files
    whose origin you trust. Raises `FileNotFoundError` if there is no file, `ValueError` if it is damaged, is no network
    file, or names a builder that now makes another network.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:  # torch.load does not look at the checksums
                raise ValueError(f"the checksum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged bytes make zip, pickle and torch raise almost anything
        raise ValueError(f"{path}: not a network file, or damaged ({_reason(error)})") from None
    if not isinstance(content, dict) or content.get("version") != FILE_VERSION:
        raise ValueError(f"{path}: expected a network file of version {FILE_VERSION}, as save_network writes")
    try:
        network = restore(build_network(content["builder"]), content["structure"])
        network.load_state_dict(content["state"])
    except Exception as error:  # whatever the builder's code does today
        target = content["builder"].get("target") if isinstance(content.get("builder"), dict) else "its builder"
        raise ValueError(f"{path}: does not fit what {target} builds now ({_reason(error)})") from None
    return network.eval()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
