"""The row of a point on disk and the network beside it: both of the same run, whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zipfile import is_zipfile

import yaml

from evaluation.result import Result, read_result, write_result
from orchestration.point import Point
from orchestration.schema import ConfigError

ROW, NETWORK, LOCK = "result.json", "network.pt", ".lock"


def finished(point: Point) -> Result | None:
    """The row of a point that ran to its end and left a whole network; None if there is none that can be read."""
    try:
        result = read_result(point.directory / ROW)
    except ValueError:
        return None
    return result if result.is_ok and is_zipfile(point.directory / NETWORK) else None


def require_writable(folder: Path) -> None:
    """Make a folder and write to it; raises `ConfigError` where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise ConfigError(f"results_dir: cannot write to {folder}: {error.strerror}") from None


def blank(point: Point, split: str) -> dict[str, Any]:
    """What is known of a row before anything has run."""
    from evaluation.counts import COUNTING  # these need torch, and who reads rows does not
    from evaluation.latency import PROTOCOL

    return {
        "id": point.id,
        "variant": point.variant,
        "choices": point.choices,
        "seed": point.config["seed"],
        "config": point.identity,
        "overrides": point.identifying_overrides,
        "tags": point.config["tags"],
        "reported": point.config["reported"],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "signature": {"split": split, "counting": COUNTING, "latency": PROTOCOL},
    }


def clear(point: Point) -> None:
    """Begin a run: write its configuration down; a good row (force=true) stays until there is a better one."""
    text = yaml.safe_dump(point.config, sort_keys=False)
    (point.directory / "config.yaml").write_text(text, encoding="utf-8")
    if finished(point) is None:
        (point.directory / ROW).unlink(missing_ok=True)
        (point.directory / NETWORK).unlink(missing_ok=True)


def new_network(point: Point) -> Path:
    """Where the network of a run waits for its row."""
    return point.directory / f"{NETWORK}.new"


def put(point: Point, result: Result) -> Result | None:
    """Put the row of a run, and its new network if it is ok, in their places; None where a better row stays."""
    path, new = point.directory / ROW, point.directory / f"{ROW}.new"
    if path.exists() and not result.is_ok:
        return None
    write_result(new, result)
    result = read_result(new)
    if result.is_ok:
        path.unlink(missing_ok=True)  # an old row never stands beside a new network
        new_network(point).replace(point.directory / NETWORK)
    new.replace(path)
    return result
