"""The state of the random numbers of the host and of the device: dropout on a GPU draws from those of the GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the state of the host's random numbers, and of those of `device` if it has its own.

    >>> state = random_state(torch.device("cpu"))
    >>> drawn = torch.rand(3)
    >>> restore_random_state(state, torch.device("cpu"))
    >>> torch.equal(torch.rand(3), drawn)
    True
    """
    of_host = {"cpu": torch.get_rng_state()}
    return of_host | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Go on with the random numbers from `state`, which was taken with a device of the same type."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
