"""One point, from its configuration to its row: data, reference, method, measures, result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from decompositions.network_file import save_network
from evaluation.environment import environment
from evaluation.result import Result
from lightning_modules.classifier import Diverged
from lightning_modules.group import group
from lightning_modules.interruption import Interrupted, at_good_moments
from lightning_modules.progress import say
from orchestration.assemble import Parts, assemble
from orchestration.attempt import attempt, taken
from orchestration.compute import compute
from orchestration.lock import Lock
from orchestration.logger import finish_logger, start_logger
from orchestration.nodes import this_node
from orchestration.point import Point
from orchestration.row import blank, clear, new_network
from orchestration.run_log import log, log_file
from orchestration.together import join_node, put_and_say, require_ours, run_together


def run_point(point: Point) -> Result:
    """Run a point, or take its finished row from disk; failures and divergence become rows with a status.

    Raises `ConfigError` for a combination that makes no sense, `RunsElsewhere`, and `Interrupted` with its row written.
    """
    if (done := taken(point)) is not None:
        return done
    parts = assemble(point)
    if (node := this_node(parts.profile.num_nodes)).rank > 0:
        return join_node(node, point, parts)

    def work(lock: Lock) -> Result:
        if parts.profile.num_processes > 1:
            return run_together(node, point, parts, lock)
        return run_here(point, parts, lock)

    def fingerprint() -> str:
        parts.data.setup()
        return parts.data.fingerprint

    return attempt(point, work, fingerprint)


def run_here(point: Point, parts: Parts, lock: Lock) -> Result:
    """Run a point in this process and write its row; it may be the first of several, whose parent holds the lock."""
    # Several processes end with their parent, who waits for them.
    signals = nullcontext() if group().size > 1 else at_good_moments()
    with signals, log_file(point.directory / "run.log"), _threads(point.config["num_threads"]):
        return _run(point, parts, lock)


def _run(point: Point, parts: Parts, lock: Lock) -> Result:
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
        status, interrupted = f"interrupted: {str(error) or 'Ctrl-C'}; the same command goes on", error
    except Exception as error:  # one point's failure must not end the sweep; the log keeps where it was
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        status = f"failed: {kind}{_one_line(error)}"
        log.error(traceback.format_exc())
    result = Result(**row, status=status, seconds=time.perf_counter() - began, environment=environment(device))
    try:
        require_ours(point, lock)
        result = put_and_say(point, result)  # the truth first, then its mirror
        if result.is_ok and checkpoint is not None:
            checkpoint.remove()
        try:
            finish_logger(logger, result, point.directory)
        except Exception as error:  # the row is on disk; a mirror that breaks does not undo it
            say(f"{point.label}: the logger could not be closed: {type(error).__name__}: {error}")
    finally:
        if interrupted is not None:  # also where no row can be written: no other point may begin
            raise interrupted
    return result


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
