"""Run one point, from its configuration to its row: data, reference, method, measures, result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from pytorch_lightning.loggers import Logger

from decompositions.network.serialization import save_network
from evaluation.environment import environment
from evaluation.result import Result
from lightning_modules.core.method import Compressed
from lightning_modules.training.checkpoint import Checkpoint, origin
from lightning_modules.training.classifier import Diverged
from orchestration.config.cluster import this_node
from orchestration.config.point import Point
from orchestration.distributed.launch_point import join_node, launch_point
from orchestration.run.build import Components, build_components
from orchestration.run.guarded_logger import start_logger
from orchestration.run.log_file import log, log_file
from orchestration.run.measure import measure, try_batches
from orchestration.run.reference import get_reference, untrained_digest
from orchestration.store.claim import Claim, claim, taken
from orchestration.store.point_files import CHECKPOINT, LOG, finished, new_row
from orchestration.store.start_of_row import UNTRAINED, WEIGHTS, weights_digest, why_stale
from runtime.console import say
from runtime.distributed import group
from runtime.messages import one_line
from runtime.signals import Interrupted, interrupt_between_batches
from runtime.zip_records import records_digest


def run_point(point: Point) -> Result:
    """Run a point that is not done and return its row; failures and divergence become rows with a status.

    The caller has read the point's status. It is read once more under the lock, and a row that another process has
    finished meanwhile is taken.

    Raises `ConfigError` for a combination that makes no sense, `RunsElsewhere`, and `Interrupted` with its row written.
    """
    components = build_components(point)
    devices, split = components.trainer_config.devices, components.split

    def untrained() -> str:
        return _untrained(point, components)

    if (node := this_node(components.trainer_config.num_nodes)).rank > 0:
        row = None if point.config["force"] else finished(point)
        if row is not None and why_stale(point, row, untrained):
            row = None  # node 0 runs it again; where it takes the row, it would not come
        return join_node(point, node, devices, split) if row is None else taken(point, row)

    def work(own: Claim) -> Result:
        if components.trainer_config.num_processes > 1:
            return launch_point(own, node, devices, split)
        return run_here(own, components)

    def fingerprint() -> str:
        components.data.setup()
        return components.data.fingerprint

    return claim(point, work, fingerprint, untrained)


def _untrained(point: Point, components: Components) -> str:
    with _threads(point.config["num_threads"]):  # always the same: their number changes the last bits
        return untrained_digest(components.network(point.config["seed"]), components.data.input_shape)


def run_here(own: Claim, components: Components) -> Result:
    """Run a claimed point in this process and write its row; of several processes, in rank 0."""
    # Several processes end with their parent, which waits for them.
    signals = nullcontext() if group().size > 1 else interrupt_between_batches()
    with signals, log_file(own.point.directory / LOG), _threads(own.point.config["num_threads"]):
        return _run(own, components)


def _run(own: Claim, components: Components) -> Result:
    point, began = own.point, time.perf_counter()
    own.begin()
    say(f"{point.label} ({point.id})")
    row = new_row(point, components.split)
    logger, status, device, checkpoint, interrupted = None, "ok", torch.device("cpu"), None, None
    try:
        logger = start_logger(point)
        components.data.setup()
        row["signature"] |= {
            "data": components.data.fingerprint,
            "normalisation": str(components.data.normalise or "not known"),
        }
        row["signature"][UNTRAINED] = _untrained(point, components)
        if (digest := weights_digest(point)) is not None:
            row["signature"][WEIGHTS] = digest
        device = components.trainer_config.device()
        compressed, measured, checkpoint = compute(point, components, logger)
        row |= measured
        save_network(
            own.pending_network,
            compressed.network,
            components.rebuilder,
            compressed.structure,
            components.data.preprocessing,
        )
        row["network_digest"] = records_digest(own.pending_network)
    except Diverged as error:
        status = f"diverged: {one_line(error)}"
    except (Interrupted, KeyboardInterrupt) as error:
        status, interrupted = f"interrupted: {str(error) or 'Ctrl-C'}; the same command goes on", error
    except Exception as error:  # one point's failure must not end the sweep; the log keeps where it was
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        status = f"failed: {kind}{one_line(error)}"
        log.error(traceback.format_exc())
    row["environment"] = environment(device) | row.get("environment", {})
    result = Result(**row, status=status, seconds=time.perf_counter() - began)
    try:
        result = own.publish(result)  # the row first: it is the truth, and W&B a copy
        if result.is_ok and checkpoint is not None:
            checkpoint.remove()
        if logger is not None:
            logger.finish(result, point.directory, is_done=status == "ok")
    finally:
        if logger is not None:
            logger.close()
        if interrupted is not None:  # also where no row can be written: no other point may begin
            raise interrupted
    return result


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Inside the block, let torch use `number` threads of the CPU: points of a sweep share a process."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(number or before)
        yield
    finally:
        torch.set_num_threads(before)


def compute(
    point: Point, components: Components, logger: Logger | None
) -> tuple[Compressed, dict[str, Any], Checkpoint]:
    """Compress a trained reference and measure both; return the compressed network, the measures and the checkpoint.

    Every process of a point must call it; only rank 0 gets measures. The checkpoint is removed by the caller, once the
    row is written. Raises `Diverged`.
    """
    config, device = point.config, components.trainer_config.device()
    try_batches(components, device, config["latency_batch_size"])
    reference = get_reference(point, components, logger)
    # What was begun with force=true goes on with it, and nothing else does.
    known = origin(of=point.id, reference=reference.digest, **{"run (force=true, or without)": config["force"]})
    checkpoint = Checkpoint(point.directory / CHECKPOINT, config["checkpoint_seconds"], known)
    checkpoint.load()
    # The reference has another: what the method draws does not depend on whether it was in the cache.
    runner = components.runner(logger, config["seed"], checkpoint)
    components.start.require_expected(lambda: runner.validate(reference.network))

    def compress() -> tuple[Compressed, dict[str, Any], Checkpoint]:
        compressed = components.method.compress(reference.network, runner)
        seconds = checkpoint.seconds()
        measured = measure(components, runner, reference, compressed, seconds, config["latency_batch_size"])
        # Points on other kinds of devices share a reference: its seconds may be those of another one.
        return compressed, measured | {"environment": {"reference_device_type": reference.device_type}}, checkpoint

    return checkpoint.go_on(compress, start_over=lambda: compute(point, components, logger))
