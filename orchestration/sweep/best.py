"""The objective of points, read from their rows on disk, and the points that no other beats."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.utils import instantiate

from evaluation.objective import VALIDATION_ERROR, RowObjective, best
from orchestration.config.point import Point
from orchestration.store.point_files import finished
from orchestration.store.status import varied_overrides


def objective_of(point: Point) -> RowObjective:
    """Return what the configuration names as its objective; without one it is the validation error."""
    node = point.config["objective"]
    return VALIDATION_ERROR if node is None else instantiate(node, _convert_="all")


def objective_values(point: Point) -> dict[str, float] | None:
    """Return the objective of the finished row of a point; None where there is none."""
    row = finished(point)
    return None if row is None else objective_of(point)(row)


def in_words(values: dict[str, float]) -> str:
    """Return `error 2.5, size 31.25`."""
    return ", ".join(f"{name} {value:.6g}" for name, value in values.items())


def print_best(points: Sequence[Point]) -> None:
    """Print the points that no other beats, if the command names an objective."""
    if points[0].config["objective"] is None:
        return
    values = [objective_values(point) for point in points]
    found = [(number, value) for number, value in enumerate(values) if value is not None]
    own, title = varied_overrides(points), "best" if len(points) > 1 else "objective"
    for index in best(value for _, value in found):
        number, value = found[index]
        print(f"{title}: {in_words(value)}: {points[number].label}{own[number]} ({points[number].id})")
