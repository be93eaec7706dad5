"""The points of one command, from their status to its summary: a grid has all at once, a search some at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from orchestration.config.departures import note_of
from orchestration.config.point import Point
from orchestration.store.status import PointStatus, read_status
from orchestration.sweep.best import print_best
from orchestration.sweep.launchers import stop_ray
from orchestration.sweep.plan import make_plan, print_plan
from orchestration.sweep.preflight import require_checked, require_equal_devices
from orchestration.sweep.run_points import PointRunner
from orchestration.sweep.summary import earlier_rows, summarise
from runtime.signals import Interrupted


class Sweep:
    """Points that were added, by id, with their statuses at that time, and the runner of those that are pending."""

    def __init__(self, launcher: Launcher, base: DictConfig) -> None:
        self.base = base
        self.runner = PointRunner(launcher, base)
        self.points: dict[str, Point] = {}
        self._statuses: dict[str, PointStatus] = {}
        self._earlier: dict[str, str] = {}

    def add(self, points: Sequence[Point]) -> list[Point]:
        """Add points, known ones once, and return those that are to be run; says which are not."""
        added = {point.id: point for point in points if point.id not in self.points}
        statuses = {id: read_status(point) for id, point in added.items()}
        self.points |= added
        self._statuses |= statuses
        for note in dict.fromkeys(map(note_of, {point.variant: point for point in added.values()}.values())):
            if note is not None:
                print(note)
        pending = [point for id, point in added.items() if statuses[id].is_pending]
        for id, now in statuses.items():
            if now.kind in ("killed", "running elsewhere"):
                print(f"{added[id].label}: {now}")
        if pending and not self.runner.is_in_process:
            require_equal_devices(pending, self.base)
        return pending

    def print_plan(self, pending: Sequence[Point]) -> None:
        """Check the points to be run, untrained, and print the plan of all; exits with 1 if one makes no sense."""
        to_run = [point for point in pending if self._statuses[point.id].is_to_run]
        require_checked(to_run, is_here=self.runner.is_here)
        print_plan(make_plan(list(self.points.values()), list(self._statuses.values())))

    def run(self, pending: Sequence[Point]) -> None:
        """Run points that were added."""
        self._earlier |= earlier_rows(pending)
        self.runner.run(pending)

    @contextmanager
    def summed_up(self) -> Iterator[None]:
        """After the block, print how all points ended; exits with a code that tells if any failed."""
        interrupted = None
        try:
            yield
        except (Interrupted, KeyboardInterrupt) as error:
            interrupted = error
            stop_ray(self.points.values())
            ended = self.runner.ended
            ended |= {id: f"interrupted: {error}" for id, reason in ended.items() if reason is None}
        code = 0
        if points := list(self.points.values()):  # none where a search was interrupted before its first
            code = summarise(points, list(self._statuses.values()), self.runner.ended, self._earlier)
            print_best(points)
        if interrupted is not None:
            raise interrupted
        if code:
            sys.exit(code)
