"""The summary of a sweep: how all of its points ended, and which were not run."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from evaluation.result import Result, read_result
from orchestration.config.point import Point
from orchestration.config.published import reconstructions
from orchestration.errors import ConfigError, RunsElsewhere
from orchestration.store.claim import Claim, claim, remove_dead_lock
from orchestration.store.owned_files import ROW
from orchestration.store.point_files import finished, row_without_result
from orchestration.store.status import PointStatus, read_status, varied_overrides
from orchestration.sweep.preflight import KILLED_IN_CHECK
from reporting.terminal import print_comparison
from runtime.console import say
from runtime.messages import printable

KILLED = "failed: its process was killed"
NOT_RUN = "were not run"
GIVEN_UP = "have no row: the launcher has given up"
OK, FAILED, UNFINISHED = 0, 1, 3  # exit codes; the last one: nothing failed, something is still running elsewhere


def earlier_rows(points: Sequence[Point]) -> dict[str, str]:
    """Return when the rows that do not count, or may not (force=true, another start), were started, by id."""
    found = {}
    for point in points:
        if (row := _row(point)) is not None and (row.is_ok or point.config["force"]):
            found[point.id] = row.started
    return found


def summarise(
    points: Sequence[Point],
    statuses: Sequence[PointStatus],
    ended: Mapping[str, str | None],
    earlier: Mapping[str, str],
) -> int:
    """Print the table of the sweep and every failure; return the exit code.

    `statuses` are those at its start: what was done then is not read again. `ended` has the points that were started,
    by id, and why they failed, or None; `earlier` when rows were started that do not count. A point that was
    killed gets its row here.
    """
    rows: list[Result] = []
    failures: list[str] = []
    not_run: Counter[str] = Counter()
    elsewhere: list[str] = []
    for point, before, own in zip(points, statuses, varied_overrides(points), strict=True):
        name = f"{point.label}{own}"
        status, row = "ok", before.row if before.kind == "done" else None
        if row is None:
            status, row = _outcome(point, point.id in ended, ended.get(point.id), earlier.get(point.id))
        if row is not None:
            rows.append(row)
        if status == "ok":
            remove_dead_lock(point)
        if status.startswith("running elsewhere"):
            elsewhere.append(f"{name}: {status}")
        elif status.startswith((NOT_RUN, GIVEN_UP)):
            not_run[status] += 1
        elif status != "ok":
            failures.append(f"{name}: {status}  ({point.directory})")
    if rows:
        print_comparison(rows, reconstructions())
    _list(f"{len(elsewhere)} of {len(points)} points are left to the processes that run them:", elsewhere)
    _list(f"{len(failures)} of {len(points)} points failed:", failures)
    for why, count in not_run.items():
        print(f"{count} of {len(points)} points {why}", file=sys.stderr)
    return FAILED if failures or not_run else UNFINISHED if elsewhere else OK


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        print("\n  ".join([title, *map(printable, lines)]), file=sys.stderr)


def _outcome(point: Point, was_started: bool, reason: str | None, earlier: str | None) -> tuple[str, Result | None]:
    """Return how a point ended, and the row that is there."""
    now = read_status(point)
    if now.kind == "done" and now.row is not None:
        return "ok", now.row
    if reason is not None and reason.startswith(KILLED_IN_CHECK):
        _write_killed(point, reason)
    elif now.kind == "killed" and was_started:
        how = reason if reason and reason.startswith((KILLED, "interrupted")) else KILLED
        _write_killed(point, f"{how} ({now.why})")
    row = _row(point)
    if now.kind == "running elsewhere":
        return str(now), row
    if row is None:
        return NOT_RUN if reason is None or reason.startswith("interrupted") else reason, None
    if row.started == earlier:
        if was_started and reason is None and now.kind in ("to be checked", "other place"):
            return "ok", row  # its process has looked at it, and taken it
        return f"{reason or 'not run again'}; its earlier row is kept{f': {now.why}' if now.why else ''}", row
    return row.status, row


def _row(point: Point) -> Result | None:
    """Return the row that is there, unless it says ok and is not this point's."""
    try:
        row = read_result(point.directory / ROW)
    except ValueError:
        return None
    return None if row.is_ok and finished(point) is None else row


def _write_killed(point: Point, status: str) -> None:
    """Write the row of a point whose process no longer can, unless an earlier row is kept."""
    if read_status(point).row is not None:
        return

    def work(own: Claim) -> Result:
        own.begin()
        result = row_without_result(point, status)
        return own.store(result) or result

    try:
        claim(point, work)
    except (RunsElsewhere, ConfigError) as error:
        say(str(error))
