"""A point whose processes are started here and run elsewhere: its row is theirs, or says why there is none."""

from __future__ import annotations

import os
import time

from evaluation.result import Result, read_result
from orchestration.config.cluster import Node
from orchestration.config.point import Point
from orchestration.distributed.torchrun import run_processes
from orchestration.errors import RunsElsewhere
from orchestration.run.build import Components
from orchestration.store.point_files import ROW, clear, put, require_writable, row_without_result
from runtime.console import say
from runtime.distributed import group
from runtime.file_lock import Lock
from runtime.signals import Interrupted, interrupt_at_once

# Until a file that another machine has written is seen here.
ROW_SECONDS = 60


def join_node(node: Node, point: Point, components: Components) -> Result:
    """Run this node's processes of a point whose lock and row are node 0's; return the row that it left."""
    path = point.directory / ROW
    require_writable(point.directory)
    why = run_processes(point, components.trainer_config.devices, node)
    deadline = time.monotonic() + ROW_SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(1)
    if path.exists():
        row = read_result(path)
        if why is None or not row.is_ok:  # else it is an earlier run's
            return row
    return row_without_result(point, f"failed: {why or f'node 0 left no row in {ROW_SECONDS} s'}", components.split)


def launch_point(node: Node, point: Point, components: Components, lock: Lock) -> Result:
    """Run a point in processes of its own; if they ended without a row, write one that says why."""
    began, before = time.monotonic(), _version(point)
    interrupted = None
    try:
        with interrupt_at_once():
            why = run_processes(point, components.trainer_config.devices, node, lock)
    except Interrupted as error:
        interrupted, why = error, str(error)
    try:
        require_ours(point, lock)
        if interrupted is None and _version(point) not in (None, before):
            row = read_result(point.directory / ROW)
            if not _is_an_echo(row.status, why):
                return _said(point, row)
        clear(point)  # of what processes said that were told to end
        kind = "failed" if interrupted is None else "interrupted"
        status = f"{kind}: {why or 'the processes left no row'}"
        return put_and_say(point, row_without_result(point, status, components.split, time.monotonic() - began))
    finally:
        if interrupted is not None:
            raise interrupted


def require_ours(point: Point, lock: Lock) -> None:
    """Raise `RunsElsewhere` in a process that stood still for minutes, and was taken for dead."""
    if not (lock.is_ours() and lock.owner.is_alive):  # of several processes the owner is their parent
        raise RunsElsewhere(f"{point.label}: taken over by another process, whose row counts")


def put_and_say(point: Point, result: Result) -> Result:
    """Put the row in its place, and say what went wrong."""
    if (stored := put(point, result)) is None:
        say(f"{point.label}: the earlier row is kept")
    _said(point, result)
    return stored or result


def _said(point: Point, result: Result) -> Result:
    """What went wrong; of several processes their parent says it, who knows more."""
    if not result.is_ok and group().size == 1:
        say(f"{point.label} ({point.id}): {result.status}")
    return result


def _version(point: Point) -> tuple[int, int] | None:
    """Tells the rows apart that stand in one place one after another; the clocks of machines differ."""
    try:
        now = os.stat(point.directory / ROW)
    except FileNotFoundError:
        return None
    return now.st_ino, now.st_mtime_ns


def _is_an_echo(status: str, why: str | None) -> bool:
    """Whether the first process says no more than that it lost another one, of which `why` knows more."""
    is_lost = why is not None and ("was killed" in why or not why.startswith("process 0 "))
    return is_lost and status.startswith(("failed: RuntimeError", "failed: DistBackendError"))
