"""Store the row of a run, and print what went wrong."""

from __future__ import annotations

from evaluation.result import Result
from orchestration.config.point import Point
from orchestration.store.point_files import store_row
from runtime.console import say
from runtime.distributed import group


def publish(point: Point, result: Result) -> Result:
    """Store the row of a run and return the row that is kept: this one, or an earlier one if only that one is ok."""
    stored = store_row(point, result)
    if stored is None:
        say(f"{point.label}: the earlier row is kept")
    say_failure(point, result)
    return stored or result


def say_failure(point: Point, result: Result) -> None:
    """Print the status of a run that is not ok; of several processes their parent prints it, which knows the cause."""
    if not result.is_ok and group().size == 1:
        say(f"{point.label} ({point.id}): {result.status}")
