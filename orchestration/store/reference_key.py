"""The key of a reference, as far as a configuration determines it, and where references are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestration.config.point import Point


def reference_key(point: Point) -> dict[str, Any]:
    """Return the part of a point's identity that the weights of its reference depend on.

    The kind of device is no part of it, so that a method which runs on the CPU alone shares the reference of those
    that train on GPUs; precision, accumulation and the number of processes are. What is expected
    of the reference changes nothing in it.
    """
    identity = point.identity
    network = {key: value for key, value in identity["network"].items() if key != "expected_top1"}
    return {
        "dataset": identity["dataset"],
        "network": network,
        "batch_size": identity["schedule"]["batch_size"],
        "phase": identity["schedule"]["reference"],
        "trainer": {key: value for key, value in identity["trainer"].items() if key != "accelerator"},
        "seed": identity["seed"],
    }


def reference_folder(point: Point) -> Path:
    """Return the folder that holds the references of a point's data and network."""
    return point.results_dir / "references" / point.choices["dataset"] / point.choices["network"]
