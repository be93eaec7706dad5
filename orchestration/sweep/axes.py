"""The axes of a sweep: each key of its overrides with the values that it may take, read from Hydra's syntax."""

from __future__ import annotations

from dataclasses import dataclass

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from orchestration.errors import ConfigError


@dataclass(frozen=True)
class Choices:
    """Values as overrides are typed, `("0.1", "0.2")`; those of a range are ordered. One value is fixed."""

    values: tuple[str, ...]
    are_ordered: bool = False


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, both included; `is_log`: `tag(log, interval(1e-3, 1))`."""

    low: float
    high: float
    is_integer: bool
    is_log: bool


def read_axes(loader: ConfigLoader, arguments: list[str]) -> dict[str, Choices | Interval]:
    """Return the axis of each key, with its `+`, in the order of `arguments`; a later override wins.

    Raises `ConfigError` with one line for each override that has no values.
    """
    axes: dict[str, Choices | Interval] = {}
    problems = []
    for override in OverridesParser.create(config_loader=loader).parse_overrides(arguments):
        try:
            axes[override.get_key_element()] = _axis(override)
        except ValueError as error:
            problems.append(f"{override.input_line}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return axes


def _axis(override: Override) -> Choices | Interval:
    if not override.is_sweep_override():
        return Choices((override.get_value_element_as_str(),))
    sweep = override._value  # `value()` hands no interval or range over
    if isinstance(sweep, IntervalSweep):
        low, high = sweep.start, sweep.end
        if low is None or high is None or low >= high:
            raise ValueError("expected an interval from a smaller number to a larger one")
        is_log = "log" in sweep.tags
        if is_log and low <= 0:
            raise ValueError(f"expected a logarithmic interval above 0, got {low}")
        return Interval(low, high, isinstance(low, int) and isinstance(high, int), is_log)
    if isinstance(sweep, RangeSweep) and sweep.step == 0:
        raise ValueError("expected a step other than 0")
    values = tuple(override.sweep_string_iterator())
    if not values:
        raise ValueError(
            "it has no values: range() counts from its start to its stop, which is not among them"
            if isinstance(sweep, RangeSweep)
            else "it has no values: glob() matches the options of a group, and none in folders below it"
        )
    return Choices(values, are_ordered=isinstance(sweep, RangeSweep) and not sweep.shuffle)
