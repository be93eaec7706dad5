"""Start the processes of a point on several devices; if they leave no row, write one that says why."""

from __future__ import annotations

import os
import time

from evaluation.result import Result, read_result
from orchestration.config.cluster import Node
from orchestration.config.point import Point
from orchestration.distributed.torchrun import run_processes
from orchestration.store.claim import Claim
from orchestration.store.owned_files import ROW
from orchestration.store.point_files import require_writable, row_without_result
from runtime.signals import Interrupted, interrupt_at_once

# Until a file that another machine has written is seen here.
ROW_SECONDS = 60


def join_node(point: Point, node: Node, devices: int, split: str) -> Result:
    """Run the processes of this node, a process a device, for a point whose lock and row are node 0's; return its row.

    `split` is the written split, for the row of a point that leaves none.
    """
    path = point.directory / ROW
    require_writable(point.directory)
    why = run_processes(point, devices, node)
    deadline = time.monotonic() + ROW_SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(1)
    if path.exists():
        row = read_result(path)
        if why is None or not row.is_ok:  # else it is an earlier run's
            return row
    return row_without_result(point, f"failed: {why or f'node 0 left no row in {ROW_SECONDS} s'}", split)


def launch_point(own: Claim, node: Node, devices: int, split: str) -> Result:
    """Run a claimed point in processes of its own, one a device; if they leave no row, write one that says why."""
    point = own.point
    began, before = time.monotonic(), _version(point)
    interrupted = None
    try:
        with interrupt_at_once():
            why = run_processes(point, devices, node, own)
    except Interrupted as error:
        interrupted, why = error, str(error)
    try:
        own.require_ours()
        if interrupted is None and _version(point) not in (None, before):
            row = read_result(point.directory / ROW)
            if not _only_reports_a_lost_peer(row.status, why):
                own.say_failure(row)
                return row
        own.begin()  # away with what processes wrote that were told to end
        kind = "failed" if interrupted is None else "interrupted"
        status = f"{kind}: {why or 'the processes left no row'}"
        return own.publish(row_without_result(point, status, split, time.monotonic() - began))
    finally:
        if interrupted is not None:
            raise interrupted


def _version(point: Point) -> tuple[int, int] | None:
    """Return what tells a row from the one that stood in its place before; the clocks of machines differ."""
    try:
        now = os.stat(point.directory / ROW)
    except FileNotFoundError:
        return None
    return now.st_ino, now.st_mtime_ns


def _only_reports_a_lost_peer(status: str, why: str | None) -> bool:
    """Return True if rank 0 only reports a lost peer; `why` holds the root cause."""
    is_lost = why is not None and ("was killed" in why or not why.startswith("process 0 "))
    return is_lost and status.startswith(("failed: RuntimeError", "failed: DistBackendError"))
