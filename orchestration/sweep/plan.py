"""The plan of a sweep: the status of its points, the references they share, and what they are likely to cost.

A cost is never invented: it is the median of what like rows on disk took, of the same data set, network and method, and
for a reference of what references of the same data set and network took; without such rows it is unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from evaluation.reference_record import read_reference_record
from evaluation.result import read_result
from orchestration.config.point import Point
from orchestration.store.owned_files import ROW
from orchestration.store.reference_key import reference_folder, reference_key
from orchestration.store.status import PointStatus, varied_overrides
from reporting.terminal import shown
from runtime.console import console
from runtime.digest import digest_json

NUM_LIKE = 10  # rows that a cost is taken from
NUM_LINES = 60  # more points are shown by experiment


@dataclass(frozen=True)
class Line:
    """A point in a plan: its status, the number of its reference, and whether it trains that reference."""

    point: Point
    varied_overrides: str
    status: PointStatus
    reference: int
    trains_reference: bool
    seconds: float | None  # of what is to be run; None: unknown


def make_plan(points: Sequence[Point], statuses: Sequence[PointStatus]) -> list[Line]:
    """Return a line for each point; the first pending point that needs a missing reference trains it."""
    medians, keys_in = cache(_medians), cache(_keys_in)  # of this plan: what a sweep finds, it may change
    numbers: dict[str, int] = {}
    lines = []
    planned: set[str] = set()
    for point, own, status in zip(points, varied_overrides(points), statuses, strict=True):
        wanted = reference_key(point)
        key = digest_json(wanted)
        number = numbers.setdefault(key, len(numbers) + 1)
        trains = status.is_to_run and key not in planned and key not in keys_in(reference_folder(point))
        seconds = None
        if status.is_to_run:
            planned.add(key)
            if costs := medians(point.directory.parent):
                seconds = costs[0] + (costs[1] if trains else 0.0)
        lines.append(Line(point, own, status, number, trains, seconds))
    return lines


def print_plan(lines: Sequence[Line]) -> None:
    """Print a table of the points (of experiments, if there are many points) and the totals."""
    pending = [line for line in lines if line.status.is_to_run]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    rows = _by_point(lines) if len(lines) <= NUM_LINES else _by_experiment(lines)
    for number, name in enumerate(rows[0]):
        table.add_column(name, overflow="fold", justify="left" if number == 0 else "right")
    for row in rows[1:]:
        table.add_row(*map(shown, row))
    # A log has no width: a row is a line there.
    (console if console.is_terminal else Console(width=160)).print(table, soft_wrap=False)
    counts = Counter(line.status.kind for line in lines)
    console.print(f"points: {len(lines)}, {', '.join(f'{count} {kind}' for kind, count in counts.items())}")
    num_references = len({line.reference for line in lines})
    to_train = sum(line.trains_reference for line in pending)
    console.print(f"references: {num_references}, {to_train} to be trained")
    console.print(f"to run: {len(pending)}, {_cost(pending)}")


def _by_point(lines: Sequence[Line]) -> list[list[str]]:
    rows = [["point", "id", "status", "reference", "cost"]]
    for line in lines:
        reference = f"{line.reference}{', to be trained' if line.trains_reference else ''}"
        cost = _duration(line.seconds) if line.status.is_to_run else "–"
        rows.append([line.point.label + line.varied_overrides, line.point.id, str(line.status), reference, cost])
    return rows


def _by_experiment(lines: Sequence[Line]) -> list[list[str]]:
    experiments: dict[str, list[Line]] = {}
    for line in lines:
        experiments.setdefault(line.point.label.partition(" ")[0], []).append(line)
    rows = [["experiment", "points", "status", "references", "cost"]]
    for name, own in experiments.items():
        counts = Counter(line.status.kind for line in own)
        stands = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        pending = [line for line in own if line.status.is_to_run]
        cost = _cost(pending) if pending else "–"
        rows.append([name, str(len(own)), stands, str(len({line.reference for line in own})), cost])
    return rows


def _cost(pending: Sequence[Line]) -> str:
    known = [line.seconds for line in pending if line.seconds is not None]
    unknown = len(pending) - len(known)
    if not pending:
        return "nothing to run"
    if not known:
        return "cost unknown: no like rows on disk"
    return f"about {_duration(sum(known))}" + (f" and {unknown} of unknown cost" if unknown else "")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _medians(folder: Path) -> tuple[float, float] | None:
    """Return the median seconds of method and reference in some ok rows of an experiment; None without such rows."""
    rows: list[tuple[float, float]] = []
    for path in folder.glob(f"*/{ROW}"):
        try:
            row = read_result(path)
        except ValueError:
            continue
        if row.is_ok and row.compressed and row.reference:
            rows.append((row.compressed.seconds, row.reference.seconds))
        if len(rows) == NUM_LIKE:
            break
    return (median(row[0] for row in rows), median(row[1] for row in rows)) if rows else None


def _keys_in(folder: Path) -> set[str]:
    """Return digests of the keys of the references in a folder; data and code are compared when one is used."""
    return {digest_json(found) for found in map(_key_of, folder.glob("*.json")) if found}


def _key_of(about: Path) -> dict[str, Any] | None:
    try:
        found = read_reference_record(about).recipe
    except ValueError:
        return None
    return {key: value for key, value in found.items() if key not in ("data", "untrained")}
