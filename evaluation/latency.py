"""Measure the latency of networks in one process, in turn, so that a drifting clock rate affects all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor, nn

NUM_ROUNDS = 15
SECONDS_PER_ROUND = 0.01
PROTOCOL = (
    f"median over {NUM_ROUNDS} rounds of the mean of as many forward passes as fill {1000 * SECONDS_PER_ROUND:.0f} ms, "
    "networks in turn, after warm-up, inference mode"
)


def measure_latency_ms(networks: Sequence[nn.Module], batch: Tensor) -> list[float]:
    """Return the milliseconds of a forward pass of each network on `batch`, by `PROTOCOL`; restore their modes.

    The networks must lie on the device of `batch`.
    """
    modes = [network.training for network in networks]
    with torch.inference_mode():
        for network in networks:
            network.eval()
        for network in networks:
            _timed(network, batch, 3)  # first passes allocate and choose kernels: keep them out of the calibration
        num_passes = [max(1, round(SECONDS_PER_ROUND / max(_timed(network, batch, 3), 1e-9))) for network in networks]
        rounds = [[_timed(n, batch, k) for n, k in zip(networks, num_passes, strict=True)] for _ in range(NUM_ROUNDS)]
    for network, mode in zip(networks, modes, strict=True):
        network.train(mode)
    return [1000 * median(times) for times in zip(*rounds, strict=True)]


def _timed(network: nn.Module, batch: Tensor, num_passes: int) -> float:
    """Return the seconds of one pass, as the mean over `num_passes`."""
    _synchronize(batch.device)
    start = time.perf_counter()
    for _ in range(num_passes):
        network(batch)
    _synchronize(batch.device)
    return (time.perf_counter() - start) / num_passes


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
