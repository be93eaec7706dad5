"""Measure the reference and the compressed network in the same way, in one process."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import nn

from evaluation.accuracy import Accuracy
from evaluation.counts import count
from evaluation.latency import measure_rounds_ms, quartiles
from evaluation.memory import measure_peak_memory_mib
from evaluation.result import Measure
from lightning_modules.core.method import Compressed
from lightning_modules.training.classifier import require_finite_loss
from lightning_modules.training.runner import Runner
from orchestration.run.build import Components
from orchestration.run.reference_file import TrainedReference
from runtime.console import say
from runtime.distributed import group
from runtime.messages import first_line


def try_batches(components: Components, device: torch.device, size: int) -> None:
    """Pass the largest batch that latency is measured with, and the smallest of training, before anything is trained.

    Raises `ValueError` if one is too large for the device, or the other too small for batch norm.
    """
    network = components.network(0).eval().to(device)
    try:
        with torch.inference_mode():
            network(torch.zeros(size, *components.data.input_shape, device=device))
    except (RuntimeError, MemoryError) as error:
        raise ValueError(
            f"no pass of a batch of latency_batch_size={size} is possible; lower it ({first_line(error)})"
        ) from None

    num_images, full = len(components.data.train_batches(1, 0, device)), components.schedule.batch_size
    num = components.trainer_config.num_processes
    last = num_images % full or full
    if (last if last < num else last // num) > 1:  # a process gets all of a batch with fewer images than processes
        return
    try:
        network.train()(torch.zeros(1, *components.data.input_shape, device=device))
    except ValueError as error:
        raise ValueError(
            f"the last training batch has {last} of {num_images} images, and the network cannot be trained on one "
            f"({first_line(error)}); take another schedule.batch_size than {full}"
        ) from None


def measure(
    components: Components,
    runner: Runner,
    reference: TrainedReference,
    compressed: Compressed,
    seconds: float,
    large_batch: int,
) -> dict[str, Any]:
    """Return the measures of both networks for the row.

    Several processes share the evaluation of accuracy; rank 0 alone measures the rest, and gets the measures.
    """
    networks = [reference.network.to(runner.device), compressed.network.to(runner.device)]
    accuracies = [
        (require_finite_loss(runner.validate(network)), require_finite_loss(runner.test(network)))
        for network in networks
    ]
    untuned = _untuned(compressed.untuned, runner)
    if group().rank > 0:
        return {}
    latency: list[dict[str, float]] = [{}, {}]
    spread: list[dict[str, tuple[float, float]]] = [{}, {}]
    memory: list[dict[str, float]] = [{}, {}]
    for size in (1, large_batch):
        images = torch.rand(size, *components.data.input_shape, device=runner.device)
        for side, rounds in enumerate(measure_rounds_ms(networks, images)):
            latency[side][str(size)] = median(rounds)
            spread[side][str(size)] = quartiles(rounds)
            memory[side][str(size)] = measure_peak_memory_mib(networks[side], images)
    spent = [(reference.epochs, reference.seconds), (runner.epochs, seconds)]
    measures = [
        _measure(network, components, *accuracies[side], latency[side], spread[side], memory[side], *spent[side])
        for side, network in enumerate(networks)
    ]
    return {
        "reference": measures[0],
        "compressed": replace(measures[1], **untuned),
        "layers": compressed.layers,
        "rank_reason": compressed.rank_reason,
        "violation": compressed.violation,
        "history": compressed.history,
        "calibration": compressed.calibration,
    }


def _untuned(network: nn.Module | None, runner: Runner) -> dict[str, Any]:
    """Return the accuracies of a network before its fine-tuning: nothing was chosen by them."""
    if network is None:
        return {}
    return {
        "untuned_test_top1_percent": runner.test(network).top1_percent,
        "untuned_validation_top1_percent": runner.validate(network).top1_percent,
    }


def _measure(
    network: nn.Module,
    components: Components,
    validation: Accuracy,
    test: Accuracy,
    latency_ms: dict[str, float],
    latency_quartiles_ms: dict[str, tuple[float, float]],
    peak_memory_mib: dict[str, float],
    epochs: int,
    seconds: float,
) -> Measure:
    counts = count(network, components.data.input_shape)
    if counts.uncounted:
        say(f"note: MACs leave out {', '.join(counts.uncounted)}, for want of a formula")
    return Measure(
        test_top1_percent=test.top1_percent,
        test_top5_percent=test.top5_percent,
        test_loss=test.loss,
        validation_top1_percent=validation.top1_percent,
        num_params=counts.num_params,
        num_nonzero=counts.num_nonzero,
        macs=counts.macs,
        num_bytes=counts.num_bytes,
        latency_ms=latency_ms,
        latency_quartiles_ms=latency_quartiles_ms,
        peak_memory_mib=peak_memory_mib,
        epochs=epochs,
        seconds=seconds,
    )
