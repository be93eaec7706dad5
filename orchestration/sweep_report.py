"""Before and after a sweep: try every kind of point without training, and tell how all of them went."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context

from evaluation.result import Result, read_result
from lightning_modules.progress import say
from orchestration.attempt import attempt
from orchestration.lock import Lock
from orchestration.point import Point
from orchestration.reconstructions import reconstructions
from orchestration.row import ROW, blank, put, require_writable
from orchestration.schema import ConfigError
from orchestration.standing import RunsElsewhere, standing, varied
from reporting.terminal import print_comparison

OK, FAILED, UNFINISHED = 0, 1, 3  # exit codes; the last one: nothing failed, something is still running elsewhere


def check_feasible(points: Sequence[Point]) -> None:
    """Assemble one point of each combination that differs in more than its seed; exits if one makes no sense."""
    from orchestration.assemble import assemble  # torch: only where something is to be run

    problems: dict[str, str] = {}
    for folder in {point.results_dir for point in points}:
        try:
            require_writable(folder)
        except ConfigError as error:
            problems[str(error)] = "sweep"
    for point in _kinds(points):
        try:
            assemble(point)
        except ConfigError as error:
            problems[str(error)] = point.label
    if problems:
        for problem, label in problems.items():
            print(f"error: {label}: {problem}", file=sys.stderr)
        sys.exit("error: the sweep was refused before anything ran")


def check_apart(points: Sequence[Point]) -> None:
    """The same in a process of its own, so that a plan costs this one no torch."""
    if points:
        process = get_context("spawn").Process(target=check_feasible, args=(_kinds(points),))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(1)


def _kinds(points: Sequence[Point]) -> list[Point]:
    """The first of all points that differ in no more than their seed."""
    kinds: dict[str, Point] = {}
    for point in points:
        kinds.setdefault(point.variant, point)
    return list(kinds.values())


def summarise(points: Sequence[Point], started: set[str], reasons: Mapping[str, str], began: str) -> int:
    """Print the table of the sweep and every failure; return the exit code.

    What is on disk counts; of forced points only what was `began` (time of the sweep) or later. `reasons` are those of
    points that left no row, by id. A point that was `started` and was killed gets its row here.
    """
    rows: list[Result] = []
    failures: list[str] = []
    elsewhere: list[str] = []
    for point, own in zip(points, varied(points), strict=True):
        name = f"{point.label}{own}"
        status, row = _outcome(point, point.id in started, reasons.get(point.id), began)
        if row is not None:
            rows.append(row)
        if status.startswith("running elsewhere"):
            elsewhere.append(f"{name}: {status}")
        elif status != "ok":
            failures.append(f"{name}: {status}  ({point.directory})")
    if rows:
        print_comparison(rows, reconstructions())
    _list(f"{len(elsewhere)} of {len(points)} points are left to the processes that run them:", elsewhere)
    _list(f"{len(failures)} of {len(points)} points did not end well:", failures)
    return FAILED if failures else UNFINISHED if elsewhere else OK


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        print("\n  ".join([title, *lines]), file=sys.stderr)


def _outcome(point: Point, was_started: bool, reason: str | None, began: str) -> tuple[str, Result | None]:
    """How a point ended, and the row that is there."""
    now = standing(point)
    if now.kind == "killed" and was_started:
        _write_killed(point, f"failed: its process was killed ({now.why})")
    try:
        row = read_result(point.directory / ROW)
    except ValueError:
        row = None
    if now.kind == "running elsewhere":
        return str(now), row
    if row is None:
        return reason or "not run", None
    if point.config["force"] and row.started < began:
        return f"{reason or 'not run again'}; its earlier row is kept", row
    return row.status, row


def _write_killed(point: Point, status: str) -> None:
    """The row of a point whose process can no longer write one."""

    def work(lock: Lock) -> Result:
        row = blank(point, "not known")
        result = Result(**row, status=status, seconds=0.0, environment={})
        return put(point, result) or result

    try:
        attempt(point, work)
    except (RunsElsewhere, ConfigError) as error:
        say(str(error))
