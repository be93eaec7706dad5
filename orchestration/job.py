"""One point, from its configuration to its row: data, reference, method, measures, result."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from decompositions.network_file import save_network
from evaluation.environment import environment
from evaluation.result import Result, read_result
from lightning_modules.classifier import Diverged
from lightning_modules.interruption import Interrupted, at_good_moments, at_once
from lightning_modules.progress import console, say
from orchestration.assemble import Parts, assemble
from orchestration.attempt import attempt, taken
from orchestration.compute import compute
from orchestration.lock import Lock
from orchestration.logger import finish_logger, start_logger
from orchestration.nodes import Node, this_node
from orchestration.point import Point
from orchestration.row import ROW, blank, clear, new_network, put, require_writable
from orchestration.several import run_processes
from orchestration.standing import RunsElsewhere

log = logging.getLogger("compression_bench")

# Until a file that another machine has written is seen here.
ROW_SECONDS = 60


def run_point(point: Point) -> Result:
    """Run a point, or take its finished row from disk; failures and divergence become rows with a status.

    Raises `ConfigError` for a combination that makes no sense, `RunsElsewhere`, and `Interrupted` with its row written.
    """
    if (done := taken(point)) is not None:
        return done
    parts = assemble(point)
    if (node := this_node(parts.profile.num_nodes)).rank > 0:
        return _join(node, point, parts)

    def work(lock: Lock) -> Result:
        if parts.profile.num_processes > 1:
            return _run_in(node, point, parts)
        return run_here(point, parts, lock)

    def fingerprint() -> str:
        parts.data.setup()
        return parts.data.fingerprint

    return attempt(point, work, fingerprint)


def run_here(point: Point, parts: Parts, lock: Lock | None = None) -> Result:
    """Run a point in this process and write its row; it may be the first of several, whose parent holds the lock."""
    # Several processes end with their parent, who waits for them.
    signals = nullcontext() if lock is None else at_good_moments()
    with signals, _log_file(point.directory / "run.log"), _threads(point.config["num_threads"]):
        return _run(point, parts, lock)


def _join(node: Node, point: Point, parts: Parts) -> Result:
    """Run this node's processes of a point whose lock and row are node 0's; return the row that it left."""
    path = point.directory / ROW
    require_writable(point.directory)
    why = run_processes(point, parts.profile.devices, node)
    deadline = time.monotonic() + ROW_SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(1)
    if path.exists():
        row = read_result(path)
        if why is None or not row.is_ok:  # else it is an earlier run's
            return row
    status = f"failed: {why or f'node 0 left no row in {ROW_SECONDS} s'}"
    here = environment(torch.device("cpu"))
    return Result(**blank(point, parts.split), status=status, seconds=0.0, environment=here)


def _run_in(node: Node, point: Point, parts: Parts) -> Result:
    """Run a point in processes of its own; if they ended without a row, write one that says why."""
    path, began = point.directory / ROW, time.time_ns()
    interrupted = None
    try:
        with at_once():
            why = run_processes(point, parts.profile.devices, node)
    except Interrupted as error:
        interrupted, why = error, str(error)
    # What the others say of a process that was killed is not the reason.
    if interrupted is None and "was killed" not in (why or "") and path.exists() and path.stat().st_mtime_ns >= began:
        return read_result(path)
    clear(point)  # of what processes said that were told to end
    kind = "failed" if interrupted is None else "interrupted"
    status, seconds = f"{kind}: {why or 'the processes left no row'}", (time.time_ns() - began) / 1e9
    here = environment(torch.device("cpu"))
    result = Result(**blank(point, parts.split), status=status, seconds=seconds, environment=here)
    result = _put(point, result)
    if interrupted is not None:
        raise interrupted
    return result


def _run(point: Point, parts: Parts, lock: Lock | None) -> Result:
    began = time.perf_counter()
    clear(point)
    say(f"{point.label} ({point.id})")
    row = blank(point, parts.split)
    logger, status, device, checkpoint, interrupted = None, "ok", torch.device("cpu"), None, None
    try:
        logger = start_logger(point)
        parts.data.setup()
        row["signature"]["data"] = parts.data.fingerprint
        device = parts.profile.device()
        compressed, measured, checkpoint = compute(point, parts, logger)
        row |= measured
        save_network(new_network(point), compressed.network, parts.rebuilder, compressed.structure)
    except Diverged as error:
        status = f"diverged: {_one_line(error)}"
    except (Interrupted, KeyboardInterrupt) as error:
        status, interrupted = f"interrupted: {error or 'Ctrl-C'}; the same command goes on", error
    except Exception as error:  # one point's failure must not end the sweep; the log keeps where it was
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        status = f"failed: {kind}{_one_line(error)}"
        log.error(traceback.format_exc())
    result = Result(**row, status=status, seconds=time.perf_counter() - began, environment=environment(device))
    if lock is not None and not lock.is_ours():  # it stood still for minutes, and was taken for dead
        raise RunsElsewhere(f"{point.label}: taken over by another process, whose row counts")
    result = _put(point, result)  # the truth first, then its mirror
    if result.is_ok and checkpoint is not None:
        checkpoint.remove()
    try:
        finish_logger(logger, result, point.directory)
    except Exception as error:  # the row is on disk; a mirror that breaks does not undo it
        say(f"{point.label}: the logger could not be closed: {type(error).__name__}: {error}")
    if interrupted is not None:
        raise interrupted
    return result


def _put(point: Point, result: Result) -> Result:
    """Put the row in its place, and say what went wrong."""
    if (stored := put(point, result)) is None:
        say(f"{point.label}: the earlier row is kept")
    if not result.is_ok:
        say(f"{point.label}: {result.status}")
    return stored or result


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


class _Log(logging.FileHandler):
    """A log that a full disk cannot turn into pages of traceback: it is said once, and the run goes on."""

    is_full = False

    def handleError(self, record: logging.LogRecord) -> None:  # the name is logging's
        if not self.is_full:
            self.is_full = True
            console.print(f"no log: {self.baseFilename} cannot be written ({sys.exc_info()[1]})", markup=False)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Write what this suite logs to `path` for a while."""
    handler = _Log(path, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
