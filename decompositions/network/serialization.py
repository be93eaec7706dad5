"""One file that holds a network, compressed or not, and the function that makes it work again in a fresh process.

The file names that function, and calling what a file names is running somebody's code: `load_network` calls this
project's networks and torchvision's, and what is trusted by name. The numbers are read as tensors and plain values
alone (`torch.load(weights_only=True)`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from decompositions.network.preprocessing import with_preprocessing as put_before
from decompositions.network.structure import Structure, restore
from runtime.atomic import atomic_write
from runtime.imports import Untrusted, import_named
from runtime.json_trees import leaves
from runtime.messages import first_line, one_line
from runtime.zip_records import require_whole

FILE_VERSION = 1
# Whose functions build networks, and do nothing else.
BUILDERS = ("networks", "torchvision.models")


def build_network(builder: dict[str, Any], trust: Sequence[str] | None = None) -> Any:
    """Import the function `builder["target"]`, a dotted path, and call it with `builder["arguments"]`.

    A builder from a file is given the packages to `trust` beside `BUILDERS`; None trusts all but Python's own library.
    Raises `Untrusted`.
    """
    trusted = None if trust is None else (*BUILDERS, *trust)
    for place, value in () if trust is None else leaves(builder["arguments"]):
        if place[-1:] == ("target",) and "." in str(value):  # the builder calls it in its turn: `networks.custom`
            import_named(str(value), trusted)
    return import_named(builder["target"], trusted)(**builder["arguments"])


def save_network(
    path: str | Path,
    network: nn.Module,
    builder: dict[str, Any],
    structure: Structure,
    preprocessing: dict[str, Any] | None = None,
) -> None:
    """Write `network` to `path`, whole or not at all; raises `OSError` if it cannot be written.

    `builder` is `{"target": dotted path, "arguments": {...}}` of the function that builds the dense network;
    `structure` says which layers were replaced (`CompressionReport.structure`, or see `structure.describe`).
    `preprocessing` is what was done to pixels of 0 to 1: `mean` and `deviation`, tensors or None. Raises
    `ValueError` if what both build now is another network than this one: the file could not be loaded. To try it, a
    second network is in memory for a moment.
    """
    state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    content = {
        "version": FILE_VERSION, "builder": builder, "structure": structure, "state": state, "frozen": frozen,
        "preprocessing": preprocessing,
    }  # fmt: skip
    try:
        with torch.random.fork_rng(devices=[]):  # building draws numbers
            _built(content, trust=None)  # this process has just built the same
    except Exception as error:  # whatever the builder's code does
        raise ValueError(
            f"{path}: could not be loaded again: {builder.get('target')} with the structure of {len(structure)} layers "
            f"builds another network ({_reason(error)})"
        ) from error
    with atomic_write(Path(path)) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # how torch says that the disk is full
            raise OSError(f"{path}: cannot be written ({_reason(error)})") from None


def load_network(path: str | Path, trust: Sequence[str] = (), *, with_preprocessing: bool = False) -> nn.Module:
    """Load the network that `save_network` wrote: in evaluation mode, on the CPU.

    It reads what its data set made of pixels. With `with_preprocessing` the module takes pixels of 0 to 1.

    The file names the Python function that builds the dense network, which is imported and called if it is one of this
    project (`networks`) or of `torchvision.models`. `trust` names packages or modules whose functions may be called
    too: those of your own networks. Raises `FileNotFoundError` if there is no file, `ValueError` if it is damaged, is
    no network file, names a builder that now makes another network, or one that is not trusted, or does not keep the
    preprocessing that is asked for.
    """
    content = _read(Path(path))
    try:
        network = _built(content, trust=[trust] if isinstance(trust, str) else trust)
    except Untrusted as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # whatever the builder's code does today
        target = content["builder"].get("target") if isinstance(content.get("builder"), dict) else "its builder"
        raise ValueError(f"{path}: does not fit what {target} builds now ({_reason(error)})") from None
    network.eval()
    try:
        return put_before(network, content.get("preprocessing")) if with_preprocessing else network
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_weights(path: str | Path, network: nn.Module) -> nn.Module:
    """Give `network`, built by the caller, the numbers of the dense network in a file; return it in evaluation mode.

    Nothing that the file names is imported or called. Raises `FileNotFoundError` if there is no file, `ValueError` if
    it is damaged, no network file, or of another network.
    """
    content = _read(Path(path))
    try:
        if content["structure"]:
            raise ValueError("it is compressed")
        return _filled(network, content).eval()
    except Exception as error:
        raise ValueError(f"{path}: of another network ({_reason(error)})") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        require_whole(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, MemoryError):  # neither is a fault of the file
        raise
    except Exception as error:  # damaged bytes make zip, pickle and torch raise almost anything
        raise ValueError(f"{path}: not a network file, or damaged ({_reason(error)})") from None
    if not isinstance(content, dict) or content.get("version") != FILE_VERSION:
        raise ValueError(f"{path}: expected a network file of version {FILE_VERSION}, as save_network writes")
    return content


def _built(content: dict[str, Any], trust: Sequence[str] | None) -> nn.Module:
    """Build the network of a file, with its numbers, their types, and which of them do not train."""
    return _filled(restore(build_network(content["builder"], trust), content["structure"], trust), content)


def _filled(network: nn.Module, content: dict[str, Any]) -> nn.Module:
    state = content["state"]
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if name in state and tensor.dtype != state[name].dtype:
            tensor.data = tensor.data.to(state[name].dtype)
    network.load_state_dict(state)
    for name in content.get("frozen", []):  # files of earlier releases do not say
        network.get_parameter(name).requires_grad_(False)
    return network


def _reason(error: Exception) -> str:
    said = one_line(error) if "state_dict" in str(error) else first_line(error)
    return f"{type(error).__name__}: {said[:500]}"
