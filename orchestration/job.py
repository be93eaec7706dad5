"""One point, from its configuration to its row: data, reference, method, measures, result."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
import yaml

from decompositions.network_file import save_network
from evaluation.counts import COUNTING
from evaluation.environment import environment
from evaluation.latency import PROTOCOL
from evaluation.result import Result, read_result, write_result
from lightning_modules.classifier import Diverged
from lightning_modules.progress import say
from orchestration.assemble import Parts, assemble
from orchestration.compute import compute
from orchestration.lock import locked
from orchestration.logger import finish_logger, start_logger
from orchestration.point import Point
from orchestration.schema import ConfigError
from orchestration.several import run_processes

log = logging.getLogger("compression_bench")


def run_point(point: Point) -> Result:
    """Run a point, or take its finished row from disk; failures and divergence become rows with a status.

    Raises `ConfigError` for a combination that makes no sense.
    """
    if not point.config["force"] and (done := finished(point)) is not None:
        return _taken(point, done)
    parts = assemble(point)
    require_writable(point.directory)
    with locked(point.directory / ".lock"):
        if not point.config["force"] and (done := finished(point)) is not None:  # by the process that held the lock
            return _taken(point, done)
        if (num := parts.profile.devices) > 1:
            return _run_in(num, point, parts)
        return run_here(point, parts)


def _taken(point: Point, result: Result) -> Result:
    say(f"{point.label}: taken from {point.directory} (force=true runs it anew)")
    if result.tags != point.config["tags"]:
        say(f"{point.label}: its row keeps its tags {result.tags}")
    if point.config["num_threads"] not in (None, measured := result.environment.get("num_threads")):
        say(f"{point.label}: its latencies were measured with num_threads={measured}")
    return result


def finished(point: Point) -> Result | None:
    """The row of a point that ran to its end and left a whole network; None if there is none that can be read."""
    try:
        result = read_result(point.directory / "result.json")
    except ValueError:
        return None
    return result if result.is_ok and is_zipfile(point.directory / "network.pt") else None


def require_writable(folder: Path) -> None:
    """Make a folder and write to it; raises `ConfigError` where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except OSError as error:
        raise ConfigError(f"results_dir: cannot write to {folder}: {error.strerror}") from None


def run_here(point: Point, parts: Parts) -> Result:
    """Run a point whose lock is held, in this process, and write its row; it may be the first of several."""
    with _log_file(point.directory / "run.log"), _threads(point.config["num_threads"]):
        return _run(point, parts)


def _run_in(num: int, point: Point, parts: Parts) -> Result:
    """Run a point in processes of its own; if they ended without a row, write one that says why."""
    path, began = point.directory / "result.json", time.time_ns()
    why = run_processes(point, num)
    if path.exists() and path.stat().st_mtime_ns >= began:
        return read_result(path)
    status, seconds = f"failed: {why or 'the processes left no row'}", (time.time_ns() - began) / 1e9
    here = environment(torch.device("cpu"))
    result = Result(**_row(point, parts), status=status, seconds=seconds, environment=here)
    if finished(point) is None:  # a good row (force=true) stays
        write_result(path, result)
    say(f"{point.label}: {status}")
    return result


def _run(point: Point, parts: Parts) -> Result:
    config, began = point.config, time.perf_counter()
    (point.directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    path, network_path = point.directory / "result.json", point.directory / "network.pt"
    new_path, new_network = point.directory / "result.json.new", point.directory / "network.pt.new"
    if finished(point) is None:  # a good row (force=true) stays until there is a better one
        path.unlink(missing_ok=True)
        network_path.unlink(missing_ok=True)
    say(f"{point.label} ({point.id})")
    row = _row(point, parts)
    logger, status, device = None, "ok", torch.device("cpu")
    checkpoint = None
    try:
        logger = start_logger(point)
        parts.data.setup()
        row["signature"]["data"] = parts.data.fingerprint
        device = parts.profile.device()
        compressed, measured, checkpoint = compute(point, parts, logger)
        row |= measured
        save_network(new_network, compressed.network, parts.builder, compressed.structure)
    except Diverged as error:
        status = f"diverged: {_one_line(error)}"
    except Exception as error:  # one point's failure must not end the sweep; the log keeps where it was
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        status = f"failed: {kind}{_one_line(error)}"
        log.error(traceback.format_exc())
    result = Result(**row, status=status, seconds=time.perf_counter() - began, environment=environment(device))
    if result.is_ok or not path.exists():
        write_result(new_path, result)  # the truth first, then its mirror
        result = read_result(new_path)
        if result.is_ok:
            path.unlink(missing_ok=True)  # an old row never stands beside a new network
            new_network.replace(network_path)
        new_path.replace(path)
        if result.is_ok and checkpoint is not None:
            checkpoint.remove()
    else:
        say(f"{point.label}: the earlier row is kept")
    try:
        finish_logger(logger, result)
    except Exception as error:  # the row is on disk; a mirror that breaks does not undo it
        say(f"{point.label}: the logger could not be closed: {type(error).__name__}: {error}")
    if not result.is_ok:
        say(f"{point.label}: {status}")
    return result


def _row(point: Point, parts: Parts) -> dict[str, Any]:
    """What is known of a row before anything has run."""
    config = point.config
    return {
        "id": point.id,
        "variant": point.variant,
        "choices": point.choices,
        "seed": config["seed"],
        "config": point.identity,
        "overrides": point.identifying_overrides,
        "tags": config["tags"],
        "reported": config["reported"],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "signature": {
            "split": parts.split,
            "counting": COUNTING,
            "latency": PROTOCOL,
        },
    }


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Compute with so many threads of the CPU, then with as many as before: points of a sweep share a process."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(number or before)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Write what this suite logs to `path` for a while."""
    handler = logging.FileHandler(path, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
