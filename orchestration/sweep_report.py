"""Before and after a sweep: try every kind of point without training, and tell how all of them went."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from evaluation.result import Result, read_result
from evaluation.table import print_comparison
from orchestration.assemble import assemble
from orchestration.job import finished
from orchestration.point import Point, digest, without
from orchestration.schema import ConfigError


def check_feasible(points: Sequence[Point]) -> None:
    """Assemble one point of each combination that differs in more than its seed; exits if one makes no sense."""
    problems: dict[str, str] = {}
    tried: set[str] = set()
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
        sys.exit(f"error: the sweep was refused before anything ran: {len(problems)} problem(s)")


def summarise(points: Sequence[Point], returned: Sequence[Any]) -> bool:
    """Print the table of the sweep and every failure; return whether all points are ok."""
    rows: list[Result] = []
    failures: list[str] = []
    for point, job in zip(points, returned, strict=True):
        try:
            status = job.return_value
            result = read_result(point.directory / "result.json")
        except Exception as error:  # a launcher hands a job's exception over on access
            failures.append(f"{point.label} [{' '.join(point.overrides)}]: {type(error).__name__}: {error}")
            continue
        rows.append(result)
        if status != "ok":
            failures.append(f"{point.label} [{' '.join(point.overrides)}]: {status}  ({point.directory})")
    if rows:
        print_comparison(rows)
    if failures:
        print(f"{len(failures)} of {len(points)} points did not end well:", file=sys.stderr)
        for failure in failures:
            print(f"  {failure}", file=sys.stderr)
    return not failures
