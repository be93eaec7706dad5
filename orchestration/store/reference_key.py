"""What a reference depends on, as far as a configuration says it, and where references are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestration.config.point import WHERE_THE_DATA_IS, Point, without


def recipe(point: Point) -> dict[str, Any]:
    """All of a configuration that the weights of a reference depend on."""
    config = without(point.config, WHERE_THE_DATA_IS)
    schedule = config["schedule"]
    return {
        "dataset": config["dataset"],
        "network": config["network"],
        "batch_size": schedule["batch_size"],
        "phase": schedule["reference"],
        "trainer": config["trainer"],
        "seed": config["seed"],
    }


def folder_of(point: Point) -> Path:
    """Where the references of a point's data and network lie."""
    return point.results_dir / "references" / point.choices["dataset"] / point.choices["network"]
