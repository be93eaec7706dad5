"""Before and after a sweep: try every kind of point without training, and tell how all of them went."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from evaluation.result import Result, read_result
from orchestration.assemble import assemble
from orchestration.point import Point, digest, without
from orchestration.reconstructions import reconstructions
from orchestration.row import finished, require_writable
from orchestration.schema import ConfigError
from reporting.terminal import print_comparison


def check_feasible(points: Sequence[Point]) -> None:
    """Assemble one point of each combination that differs in more than its seed; exits if one makes no sense."""
    problems: dict[str, str] = {}
    tried: set[str] = set()
    for folder in {point.results_dir for point in points}:
        try:
            require_writable(folder)
        except ConfigError as error:
            problems[str(error)] = "sweep"
    for point in points:
        if not point.config["force"] and finished(point) is not None:
            continue
        kind = digest(without(point.config, ("seed",)))
        if kind in tried:
            continue
        tried.add(kind)
        try:
            assemble(point)
        except ConfigError as error:
            problems[str(error)] = point.label
    if problems:
        for problem, label in problems.items():
            print(f"error: {label}: {problem}", file=sys.stderr)
        sys.exit("error: the sweep was refused before anything ran")


def summarise(points: Sequence[Point], returned: Sequence[Any] | None, began: str) -> bool:
    """Print the table of the sweep and every failure; return whether all points are ok.

    `returned` is what the launcher gave for each point, None if it was interrupted: then what is on disk counts, of
    forced points only what was `began` (time of the sweep) or later.
    """
    rows: list[Result] = []
    failures: list[str] = []
    for point, job in zip(points, returned or [None] * len(points), strict=True):
        try:
            status = "ok" if job is None else job.return_value
            rows.append(read_result(point.directory / "result.json"))
        except Exception as error:  # a launcher hands a job's exception over on access
            status = "not run" if job is None else f"failed: {type(error).__name__}: {error}"
        else:
            status = rows[-1].status if job is None else status
            if job is None and point.config["force"] and rows[-1].started < began:
                status = "not run again, its earlier row is kept"
        if status != "ok":
            failures.append(f"{point.label}{_varied(point, points)}: {status}  ({point.directory})")
    if rows:
        print_comparison(rows, reconstructions())
    if failures:
        print(f"{len(failures)} of {len(points)} points did not end well:", file=sys.stderr)
        for failure in failures:
            print(f"  {failure}", file=sys.stderr)
    return not failures


def _varied(point: Point, points: Sequence[Point]) -> str:
    """The overrides of a point that not all points of its sweep share."""
    shared = set.intersection(*(set(p.overrides) for p in points))
    varied = [o for o in point.overrides if o not in shared and not o.startswith("seed=")]
    return f" [{' '.join(varied)}]" if varied else ""
