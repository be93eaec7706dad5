"""What a point computes, in one process or in several that train together: reference, method, measures."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.loggers import Logger

from lightning_modules.checkpoint import Checkpoint, origin
from lightning_modules.classifier import Diverged
from lightning_modules.method import Compressed
from lightning_modules.runner import Runner
from orchestration.assemble import Parts
from orchestration.measures import measure, try_batch
from orchestration.point import Point
from orchestration.reference_cache import trained_reference


def compute(point: Point, parts: Parts, logger: Logger | None) -> tuple[Compressed, dict[str, Any], Checkpoint]:
    """Compress a trained reference and measure both; the checkpoint is to be removed once the row is written.

    Raises `Diverged`. Of several processes all must ask; only the first one has the measures.
    """
    config, device = point.config, parts.profile.device()
    try_batch(parts, device, config["latency_batch_size"])
    reference = trained_reference(point, parts, logger)
    # What was begun with force=true goes on with it, and nothing else does.
    known = origin(of=point.id, reference=reference.digest, **{"run (force=true, or without)": config["force"]})
    checkpoint = Checkpoint(point.directory / "checkpoint.pt", config["checkpoint_seconds"], known)
    checkpoint.load()
    # The reference has another: what the method draws does not depend on whether it was in the cache.
    runner = Runner(
        parts.data,
        parts.schedule,
        parts.profile,
        logger,
        config["seed"],
        build=lambda: parts.network(config["seed"]),
        checkpoint=checkpoint,
    )
    try:
        compressed = parts.method.compress(reference.network, runner)
        measured = measure(parts, runner, reference, compressed, checkpoint.seconds(), config["latency_batch_size"])
    except Diverged:
        checkpoint.remove()
        raise
    return compressed, measured, checkpoint
