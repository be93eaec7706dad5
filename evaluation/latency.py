"""Measure the latency of networks in one process, in turn, so that a drifting clock rate affects all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median, quantiles

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
    return [median(times) for times in measure_rounds_ms(networks, batch)]


def measure_rounds_ms(networks: Sequence[nn.Module], batch: Tensor) -> list[list[float]]:
    """Return the same of every round, in their order: their median is the latency, their spread how sure it is."""
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
    return [[1000 * seconds for seconds in times] for times in zip(*rounds, strict=True)]


def quartiles(times: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile of the rounds of a measurement; of a single one, itself twice.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 4.0)
    """
    if len(times) == 1:
        return times[0], times[0]
    first, _, third = quantiles(times, n=4, method="inclusive")
    return first, third


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
