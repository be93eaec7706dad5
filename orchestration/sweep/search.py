"""A search: points are chosen by the objectives of those before, a few at a time, and run as those of a grid are.

The rows on disk are its memory. Something that chooses the same points after the same outcomes goes, typed again,
through those that are done without training, and on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from orchestration.config.point import Point
from orchestration.errors import ConfigError
from orchestration.store.status import read_status
from orchestration.sweep.axes import Choices, Interval
from orchestration.sweep.best import in_words, objective_values
from orchestration.sweep.fast_compose import Composer
from orchestration.sweep.sweep import Sweep


class Chooser(Protocol):
    """What chooses: `ask` returns a trial and the overrides to try, `tell` its objectives, None if there are none.

    `is_over` is True once it has nothing more to try.
    """

    is_over: bool

    def ask(self) -> tuple[Any, list[str]]: ...

    def tell(self, trial: Any, values: Sequence[float] | None) -> None: ...


def split_axes(axes: Mapping[str, Choices | Interval]) -> tuple[list[str], dict[str, Choices | Interval]]:
    """Return the overrides of the keys with one value, and the axes that are searched."""
    fixed: list[str] = []
    searched: dict[str, Choices | Interval] = {}
    for key, axis in axes.items():
        if isinstance(axis, Choices) and len(axis.values) == 1:
            fixed.append(f"{key}={axis.values[0]}")
        else:
            searched[key] = axis
    return fixed, searched


class Search:
    """`num_trials` trials of what `chooser` asks for, on top of `fixed` overrides; `num_at_once` chosen together."""

    def __init__(
        self, sweep: Sweep, compose: Composer, chooser: Chooser, fixed: list[str], num_trials: int, num_at_once: int
    ) -> None:
        self.sweep = sweep
        self.compose = compose
        self.chooser = chooser
        self.fixed = fixed
        self.num_trials = num_trials
        self.num_at_once = num_at_once
        self.num_told = 0

    def run(self, *, fail_fast: bool) -> None:
        """Run all trials; with `fail_fast` stop at the first that fails."""
        while self._goes_on:
            chosen = self._choose()
            if pending := self.sweep.add([point for _, point, _ in chosen]):
                self.sweep.run(pending)
            self._tell(chosen)
            if fail_fast and any(self.sweep.runner.ended.values()):
                return

    def plan(self) -> None:
        """Go as far as rows on disk lead, and print the plan; nothing is run."""
        pending: list[Point] = []
        while self._goes_on and not pending:
            chosen = self._choose()
            pending = self.sweep.add([point for _, point, _ in chosen])
            if not pending:
                self._tell(chosen)
        self.sweep.print_plan(pending)
        later = self.num_trials - self.num_told - (len(chosen) if pending else 0)
        print(f"trials: {self.num_trials}, {self.num_told} done, {later} to be chosen by the outcome of those before")

    @property
    def _goes_on(self) -> bool:
        return self.num_told < self.num_trials and not self.chooser.is_over

    def _choose(self) -> list[tuple[Any, Point, list[str]]]:
        asked = [self.chooser.ask() for _ in range(min(self.num_at_once, self.num_trials - self.num_told))]
        return [(trial, self.compose([*self.fixed, *overrides]), overrides) for trial, overrides in asked]

    def _tell(self, chosen: Sequence[tuple[Any, Point, list[str]]]) -> None:
        for trial, point, overrides in chosen:
            values = objective_values(point)
            if values is None and read_status(point).kind == "running elsewhere":
                raise ConfigError(
                    f"{point.label} ({point.id}) runs elsewhere, and what is chosen next depends on it; start the "
                    "search again when it is done"
                )
            self.chooser.tell(trial, None if values is None else list(values.values()))
            self.num_told += 1
            said = "no objective" if values is None else in_words(values)
            print(f"trial {self.num_told} of {self.num_trials}: {said}: {' '.join(overrides)} ({point.id})", flush=True)
