"""The mirror of a point in Weights & Biases: one run a point, also where many points share a process."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any

from hydra.utils import instantiate
from pytorch_lightning.loggers import Logger

from evaluation.name import experiment_name
from evaluation.result import Result
from orchestration.point import Point


def start_logger(point: Point) -> Logger | None:
    """Open the point's run: group dataset/network, job type method, the resolved configuration as plain containers."""
    node = point.config["logger"]
    if node is None:
        return None
    if node.get("offline"):
        import wandb

        os.environ["WANDB_ERROR_REPORTING"] = "false"  # it would look a host up even offline
        wandb.setup(wandb.Settings(silent=True, mode="offline"))
    choices = point.choices
    logger = instantiate(node)(
        save_dir=str(point.directory),
        name=f"{choices['method']}-{point.id}",
        group=f"{choices['dataset']}/{choices['network']}",
        job_type=experiment_name(choices).split("/")[-1],
        tags=[*point.config["tags"], f"seed={point.config['seed']}", *(f"{k}={v}" for k, v in choices.items())],
        config={**point.config, "choices": choices, "point": point.id},
    )
    _ = logger.experiment  # opens the run now: a missing login fails here, before anything trains
    return logger


def finish_logger(logger: Logger | None, result: Result) -> None:
    """Write the summary under the names of result.json and close the run, so that the next point opens its own."""
    if logger is not None:
        logger.experiment.summary.update(summary(result))  # type: ignore[attr-defined]
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish(exit_code=0 if result.is_ok else 1)


def summary(result: Result) -> dict[str, Any]:
    """The numbers of a row, flat: `compressed.num_params`, `reference.latency_ms.1`, …, and its status."""
    flat: dict[str, Any] = {"status": result.status, "seconds": result.seconds, "violation": result.violation}
    for side in ("reference", "compressed"):
        measure = getattr(result, side)
        for key, value in (dataclasses.asdict(measure) if measure else {}).items():
            values = {f".{k}": v for k, v in value.items()} if isinstance(value, dict) else {"": value}
            flat |= {f"{side}.{key}{suffix}": v for suffix, v in values.items()}
    return flat
