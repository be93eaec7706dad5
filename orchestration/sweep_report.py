"""Before and after a sweep: try every kind of point without training, and tell how all of them went."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing import get_context
from typing import Any

from evaluation.result import Result, read_result
from lightning_modules.progress import say
from orchestration.attempt import attempt
from orchestration.lock import Lock
from orchestration.nodes import this_node
from orchestration.point import Point
from orchestration.reconstructions import reconstructions
from orchestration.row import ROW, put, require_writable, without_result
from orchestration.schema import ConfigError
from orchestration.standing import RunsElsewhere, standing, varied
from reporting.terminal import print_comparison

KILLED = "failed: its process was killed"
NOT_RUN = "were not run"
GIVEN_UP = "have no row: the launcher has given up"
OK, FAILED, UNFINISHED = 0, 1, 3  # exit codes; the last one: nothing failed, something is still running elsewhere


def check_feasible(points: Sequence[Point], *, is_here: bool = True, writes: bool = True) -> None:
    """Assemble one point of each combination that differs in more than its seed; exits if one makes no sense.

    Where points run elsewhere, data and devices that are not here are a note: they are looked for again there.
    """
    from orchestration.assemble import NotHere, assemble  # torch: only where something is to be run

    problems: dict[str, str] = {}
    notes: dict[str, None] = {}
    for folder in {point.results_dir for point in points if writes}:
        try:
            require_writable(folder)
        except ConfigError as error:
            problems[str(error)] = "sweep"
    for point in _kinds(points):
        try:
            assemble(point)
            if is_here:
                this_node(point.config["trainer"].get("num_nodes", 1))
        except NotHere as error:
            if is_here:
                problems[str(error)] = point.label
            else:
                notes[f"note: not on this machine: {error.what}"] = None
        except ConfigError as error:
            problems[str(error)] = point.label
    print(*notes, sep="\n", end="\n" if notes else "")
    if problems:
        for problem, label in problems.items():
            print(f"error: {label}: {problem}", file=sys.stderr)
        sys.exit("error: the sweep was refused before anything ran")


def check_apart(points: Sequence[Point], *, is_here: bool) -> None:
    """The same in a process of its own, so that a plan costs this one no torch."""
    if points:
        target = partial(check_feasible, _kinds(points), is_here=is_here, writes=False)
        process = get_context("spawn").Process(target=target)
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


def check_alike(points: Sequence[Point], base: Mapping[str, Any]) -> None:
    """Exit unless all points have the devices of `base`: a launcher reserves the same for all."""
    names = {"accelerator": "cpu", "devices": 1, "num_nodes": 1}
    of_base, *of_points = (
        tuple(trainer.get(name, usual) for name, usual in names.items())
        for trainer in (base["trainer"], *(point.config["trainer"] for point in points))
    )
    if (asked := set(of_points)) != {of_base}:
        said = ", ".join(" ".join(map(str, each)) for each in sorted(asked, key=str))
        sys.exit(
            "error: a launcher reserves the same devices for all points, those of the one trainer of the command; got "
            f"accelerator, devices and num_nodes {said}: type a command for each"
        )


def earlier_rows(points: Sequence[Point]) -> dict[str, str]:
    """When the rows of points that are to be run again (force=true) were started, by id."""
    found = {}
    for point in points:
        if point.config["force"] and (row := _row(point)) is not None:
            found[point.id] = row.started
    return found


def summarise(points: Sequence[Point], ended: Mapping[str, str | None], earlier: Mapping[str, str]) -> int:
    """Print the table of the sweep and every failure; return the exit code.

    What is on disk counts, but for `earlier` rows. `ended` has the points that were started, by id, and why some left
    no row. One of them that was killed gets its row here.
    """
    rows: list[Result] = []
    failures: list[str] = []
    not_run: Counter[str] = Counter()
    elsewhere: list[str] = []
    for point, own in zip(points, varied(points), strict=True):
        name = f"{point.label}{own}"
        status, row = _outcome(point, point.id in ended, ended.get(point.id), earlier.get(point.id))
        if row is not None:
            rows.append(row)
        if status.startswith("running elsewhere"):
            elsewhere.append(f"{name}: {status}")
        elif status.startswith((NOT_RUN, GIVEN_UP)):
            not_run[status] += 1
        elif status != "ok":
            failures.append(f"{name}: {status}  ({point.directory})")
    if rows:
        print_comparison(rows, reconstructions())
    _list(f"{len(elsewhere)} of {len(points)} points are left to the processes that run them:", elsewhere)
    _list(f"{len(failures)} of {len(points)} points did not end well:", failures)
    for why, count in not_run.items():
        print(f"{count} of {len(points)} points {why}", file=sys.stderr)
    return FAILED if failures or not_run else UNFINISHED if elsewhere else OK


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        print("\n  ".join([title, *lines]), file=sys.stderr)


def _outcome(point: Point, was_started: bool, reason: str | None, earlier: str | None) -> tuple[str, Result | None]:
    """How a point ended, and the row that is there."""
    now = standing(point)
    if now.kind == "done" and now.row is not None:
        return "ok", now.row
    if now.kind == "killed" and was_started:
        how = reason if reason and reason.startswith((KILLED, "interrupted")) else KILLED
        _write_killed(point, f"{how} ({now.why})")
    row = _row(point)
    if now.kind == "running elsewhere":
        return str(now), row
    if row is None:
        return NOT_RUN if reason is None or reason.startswith("interrupted") else reason, None
    if row.started == earlier:
        return f"{reason or 'not run again'}; its earlier row is kept", row
    return row.status, row


def _row(point: Point) -> Result | None:
    try:
        return read_result(point.directory / ROW)
    except ValueError:
        return None


def _write_killed(point: Point, status: str) -> None:
    """The row of a point whose process can no longer write one."""

    def work(lock: Lock) -> Result:
        result = without_result(point, status)
        return put(point, result) or result

    try:
        attempt(point, work)
    except (RunsElsewhere, ConfigError) as error:
        say(str(error))
