"""The files of a point: its row, and the network of the same run, both whole or neither."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zipfile import is_zipfile

import yaml

from evaluation.result import Result, read_result, write_result
from orchestration.config.point import Point
from orchestration.errors import ConfigError

ROW, NETWORK, LOCK, CONFIG = "result.json", "network.pt", ".lock", "config.yaml"
# A whole file of YAML takes a hundred times as long to read.
ROOT_OF_DATA = re.compile(r"^dataset:\n(?:  .*\n)*?  root: (.*)$", re.MULTILINE)


def finished(point: Point) -> Result | None:
    """Return the row of a point that ran to its end and left a whole network; None if there is none to read."""
    try:
        result = read_result(point.directory / ROW)
    except ValueError:
        return None
    return result if result.is_ok and is_zipfile(point.directory / NETWORK) else None


def has_other_root(point: Point) -> bool:
    """Return True if the finished run used another dataset.root: only fingerprints tell whether the data match."""
    root = point.config["dataset"].get("root")
    try:
        text = (point.directory / CONFIG).read_text(encoding="utf-8")
    except OSError:  # a row alone, copied here
        return False
    before = ROOT_OF_DATA.search(text)
    return root is not None and before is not None and yaml.safe_load(before[1]) != root


def require_writable(folder: Path) -> None:
    """Make a folder and write a file there; raises `ConfigError` if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        why = "a file is in the place of a folder" if is_file else error.strerror
        raise ConfigError(f"results_dir: cannot write to {folder}: {why}") from None


def new_row(point: Point, split: str, seconds_ago: float = 0.0) -> dict[str, Any]:
    """Return the fields of a row that are known before anything has run; the run began `seconds_ago`."""
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
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(time.time() - seconds_ago)),
        "signature": {"split": split, "counting": COUNTING, "latency": PROTOCOL},
    }


def row_without_result(point: Point, status: str, split: str = "not known", seconds: float = 0.0) -> Result:
    """Return the row of a run that ended without writing one."""
    import torch

    from evaluation.environment import environment

    here = environment(torch.device("cpu"))
    return Result(**new_row(point, split, seconds), status=status, seconds=seconds, environment=here)


def begin_run(point: Point, *, keeps_row: bool) -> None:
    """Write the configuration of a run down; remove what an earlier run left, unless its row is to be kept."""
    text = yaml.safe_dump(point.config, sort_keys=False, width=math.inf)
    _new(point, CONFIG).write_text(text, encoding="utf-8")
    if not keeps_row:
        (point.directory / ROW).unlink(missing_ok=True)
        (point.directory / NETWORK).unlink(missing_ok=True)
        _settle(point, CONFIG)


def pending_network(point: Point) -> Path:
    """Return where the network of a run is kept until its row is stored."""
    return _new(point, NETWORK)


def _new(point: Point, name: str) -> Path:
    return point.directory / f"{name}.new"


def _settle(point: Point, name: str) -> None:
    _new(point, name).replace(point.directory / name)


def store_row(point: Point, result: Result) -> Result | None:
    """Store the row of a run, and its network if the row is ok; return None if an earlier row is kept instead."""
    path, new = point.directory / ROW, _new(point, ROW)
    if path.exists() and not result.is_ok:
        return None
    write_result(new, result)
    result = read_result(new)
    if result.is_ok:
        path.unlink(missing_ok=True)  # an old row never stands beside a new network
        _settle(point, NETWORK)
        if _new(point, CONFIG).exists():  # with force=true the earlier row's stood there until now
            _settle(point, CONFIG)
    _settle(point, ROW)
    return result
