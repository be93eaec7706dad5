"""The grid of a sweep: all combinations of its overrides, composed and checked, equal ones once."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from orchestration.config.error_messages import error_lines
from orchestration.config.point import Point
from orchestration.errors import ConfigError
from orchestration.sweep.axes import Choices, Interval, read_axes
from orchestration.sweep.fast_compose import Composer

MANY = 1000  # refusals that are enough to see what is wrong


def expand_grid(loader: ConfigLoader, base: DictConfig, arguments: list[str]) -> list[Point]:
    """Return the points of all combinations of the overrides in `arguments`; equal ones are one point.

    Exits with 1, and one line per problem, if a combination is refused; raises `ConfigError` for an axis that a grid
    has no values for.
    """
    combinations = _combinations(read_axes(loader, arguments))
    compose = Composer(loader, base)
    points: dict[str, Point] = {}
    problems: dict[str, int] = {}
    num_refused = 0
    for overrides in combinations:
        try:
            point = compose(overrides)
            # Other names may stand for the same configuration: `method=svd` and `method=direct decomposition=svd`.
            first = points.setdefault(key := point.computation, point)
            # Where the kind of device changes nothing, the one that every machine has: int8 runs there alone.
            if not point.is_identity("trainer.accelerator") and first.config["trainer"]["accelerator"] != "cpu":
                points[key] = point
        except Exception as error:
            lines = error_lines(error)
            if not lines:
                raise
            for line in lines:
                problems[line] = problems.get(line, 0) + 1
            num_refused += 1
            if num_refused == MANY:
                problems["and so on; the other points were not looked at"] = 1
                break
    for key, values in _swept(combinations).items():
        if points and not any(point.is_identity(key) for point in points.values()):
            given = f"{key}={','.join(values)}"
            problems[f"{given}: cannot be swept: it does not change the computation; give one value"] = 1
    if problems:
        for problem, count in problems.items():
            print(f"error: {problem}{f'  [{count} points]' if count > 1 else ''}", file=sys.stderr)
        sys.exit("error: the sweep was refused before anything ran")
    repeated = len(combinations) - len(points)
    dropped = f" ({_number(repeated, 'repetition')} dropped)" if repeated else ""
    print(f"{_number(len(points), 'point')}{dropped}")
    return list(points.values())


def _combinations(axes: Mapping[str, Choices | Interval]) -> list[tuple[str, ...]]:
    if intervals := [key for key, axis in axes.items() if isinstance(axis, Interval)]:
        raise ConfigError(
            f"{intervals[0]}: a grid has no values for interval(); give choice(…) or range(…), or search: "
            "hydra/sweeper=optuna"
        )
    lists = [[f"{key}={value}" for value in axis.values] for key, axis in axes.items() if isinstance(axis, Choices)]
    return list(itertools.product(*lists))


def _swept(combinations: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Return the values of each key that has several."""
    values: dict[str, dict[str, None]] = {}
    for overrides in combinations:
        for override in overrides:
            key, _, value = override.lstrip("+").partition("=")
            values.setdefault(key, {})[value] = None
    return {key: list(found) for key, found in values.items() if len(found) > 1}


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
