"""Trained weights from a file into a network that is already built: a state_dict of torch, or safetensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.messages import first_line

SAFETENSORS = ".safetensors"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state_dict: safetensors by the ending of the file's name, else what `torch.save` wrote.

    Raises `ValueError` in one line for a file that cannot be read, a checkpoint of more than weights, and other
    content. Nothing in a file is executed.
    """
    try:
        state = load_file(path) if path.suffix == SAFETENSORS else _load(path)
    except Exception as error:  # damaged bytes make torch raise almost anything
        raise ValueError(
            f"network.weights: {path} cannot be read ({first_line(error)}); give another file, or write it again"
        ) from None
    if isinstance(state, dict) and (inside := [key for key, value in state.items() if isinstance(value, dict)]):
        raise ValueError(
            f"network.weights: {path} is a checkpoint; expected a state_dict alone, as torch.save(checkpoint"
            f"[{inside[0]!r}], …) writes it"
        )
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"network.weights: {path} holds no state_dict of tensors")
    return state


def _load(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


def put_weights(network: nn.Module, state: dict[str, Tensor], what: str, new_head: bool) -> None:
    """Load `state` into `network`, in place; `what` names it in errors.

    With `new_head` the last linear layer or 2-D convolution keeps its untrained numbers where those of `state` do not
    fit. Raises `ValueError` in one line for weights of another network or another number of classes.
    """
    own = network.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    last = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1:]
    head = {key for key in own if last and key.startswith(f"{last[0]}.")}
    if wrong := sorted((own.keys() - fitting.keys() - head) | (state.keys() - own.keys())):
        more = f" and {len(wrong) - 1} more do not fit" if len(wrong) > 1 else " does not fit"
        raise ValueError(f"{what}: of another network: {wrong[0]}{more}")
    if not new_head and not head <= fitting.keys():
        weight = f"{last[0]}.weight"
        known = [f"{len(values[weight])} classes" if weight in values else "no such layer" for values in (own, state)]
        raise ValueError(
            f"{what}: of another last layer, {last[0]}: expected {known[0]}, got {known[1]}; network.new_head=true "
            "starts it untrained"
        )
    network.load_state_dict(fitting, strict=False)
