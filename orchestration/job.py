"""One point, from its configuration to its row: data, reference, method, measures, result."""

from __future__ import annotations

import copy
import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from decompositions.network_file import save_network
from evaluation.accuracy import Accuracy
from evaluation.counts import COUNTING, count
from evaluation.environment import environment
from evaluation.latency import PROTOCOL, measure_latency_ms
from evaluation.memory import measure_peak_memory_mib
from evaluation.result import Measure, Result, read_result, write_result
from lightning_modules.classifier import Diverged, require_finite_loss
from lightning_modules.method import Compressed
from lightning_modules.progress import say
from lightning_modules.runner import Runner, Stopwatch
from orchestration.assemble import Parts, assemble
from orchestration.lock import locked
from orchestration.logger import finish_logger, start_logger
from orchestration.point import Point
from orchestration.reference_cache import TrainedReference, trained_reference
from orchestration.schema import ConfigError

log = logging.getLogger("compression_bench")


def run_point(point: Point) -> Result:
    """Run a point, or take its finished row from disk; failures and divergence become rows with a status.

    Raises `ConfigError` for a combination that makes no sense.
    """
    if not point.config["force"] and (done := finished(point)) is not None:
        return _taken(point, done)
    parts = assemble(point)
    try:
        point.directory.mkdir(parents=True, exist_ok=True)
        (point.directory / ".lock").touch()
    except OSError as error:
        raise ConfigError(f"results_dir: cannot write to {point.directory}: {error.strerror}") from None
    with locked(point.directory / ".lock"):
        if not point.config["force"] and (done := finished(point)) is not None:  # by the process that held the lock
            return _taken(point, done)
        with _log_file(point.directory / "run.log"):
            result = _run(point, parts)
    return result


def _taken(point: Point, result: Result) -> Result:
    say(f"{point.label}: taken from {point.directory} (force=true runs it anew)")
    return result


def finished(point: Point) -> Result | None:
    """The row of a point that ran to its end; None if there is none, or it failed or cannot be read."""
    try:
        result = read_result(point.directory / "result.json")
    except (FileNotFoundError, ValueError):
        return None
    return result if result.is_ok else None


def _run(point: Point, parts: Parts) -> Result:
    config, watch = point.config, Stopwatch()
    if config["num_threads"] is not None:
        torch.set_num_threads(config["num_threads"])
    (point.directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    for stale in ("result.json", "network.pt"):
        (point.directory / stale).unlink(missing_ok=True)  # a run that is broken off must not look finished
    say(f"{point.label} ({point.id})")
    row: dict[str, Any] = {
        "id": point.id,
        "variant": point.variant,
        "choices": point.choices,
        "seed": config["seed"],
        "config": point.identity,
        "overrides": point.identifying_overrides,
        "tags": config["tags"],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "signature": {
            "split": parts.data.split,
            "counting": COUNTING,
            "latency": PROTOCOL,
        },
    }
    logger, status, device = None, "ok", torch.device("cpu")
    try:
        logger = start_logger(point)
        parts.data.setup()
        reference = trained_reference(point, parts, logger)
        # A runner of its own: what the method draws does not depend on whether the reference was in the cache.
        runner = Runner(parts.data, parts.schedule, parts.make_trainer, logger, config["seed"])
        method_watch = Stopwatch()
        device = runner.device
        compressed = parts.method.compress(copy.deepcopy(reference.network), runner)
        seconds = method_watch.seconds()
        row |= _measures(parts, runner, reference, compressed, seconds, config["latency_batch_size"])
        save_network(point.directory / "network.pt", compressed.network, parts.builder, compressed.structure)
    except Diverged as error:
        status = f"diverged: {_one_line(error)}"
    except ValueError as error:
        status = f"failed: {_one_line(error)}"
        log.error(traceback.format_exc())
    except Exception as error:  # one point's failure must not end the sweep; the log keeps where it was
        status = f"failed: {type(error).__name__}: {_one_line(error)}"
        log.error(traceback.format_exc())
    result = Result(**row, status=status, seconds=watch.seconds(), environment=environment(device))
    write_result(point.directory / "result.json", result)  # the truth first, then its mirror
    try:
        finish_logger(logger, result)
    except Exception as error:  # the row is on disk; a mirror that breaks does not undo it
        say(f"{point.label}: the logger could not be closed: {type(error).__name__}: {error}")
    if status != "ok":
        say(f"{point.label}: {status}")
    return result


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _measures(
    parts: Parts, runner: Runner, reference: TrainedReference, compressed: Compressed, seconds: float, large_batch: int
) -> dict[str, Any]:
    """Measure both networks in the same way, in one process."""
    networks = [reference.network.to(runner.device), compressed.network.to(runner.device)]
    accuracies = [
        (require_finite_loss(runner.validate(network)), require_finite_loss(runner.test(network)))
        for network in networks
    ]
    latency: list[dict[str, float]] = [{}, {}]
    memory: list[dict[str, float]] = [{}, {}]
    for size in (1, large_batch):
        images = torch.rand(size, *parts.data.input_shape, device=runner.device)
        for side, milliseconds in enumerate(measure_latency_ms(networks, images)):
            latency[side][str(size)] = milliseconds
            memory[side][str(size)] = measure_peak_memory_mib(networks[side], images)
    spent = [(reference.epochs, reference.seconds), (runner.epochs, seconds)]
    measures = [
        _measure(network, parts, *accuracies[side], latency[side], memory[side], *spent[side])
        for side, network in enumerate(networks)
    ]
    return {
        "reference": measures[0],
        "compressed": measures[1],
        "layers": compressed.layers,
        "rank_reason": compressed.rank_reason,
        "violation": compressed.violation,
        "history": compressed.history,
    }


def _measure(
    network: nn.Module,
    parts: Parts,
    validation: Accuracy,
    test: Accuracy,
    latency_ms: dict[str, float],
    peak_memory_mib: dict[str, float],
    epochs: int,
    seconds: float,
) -> Measure:
    counts = count(network, parts.data.input_shape)
    return Measure(
        test.top1_percent, test.top5_percent, test.loss, validation.top1_percent,
        counts.num_params, counts.macs, counts.num_bytes, latency_ms, peak_memory_mib, epochs, seconds,
    )  # fmt: skip


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Write what this suite logs to `path` for a while."""
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
