"""The sweeper behind `-m`: compose and check every point first, run each once, tell at the end how all went.

Hydra's own sweeper composes points without checking values, runs equal points twice and reports only the first
failure. This one refuses the whole sweep before anything trains if a point is wrong, and its exit code counts.
"""

from __future__ import annotations

import sys
import time

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lightning_modules.interruption import Interrupted, at_once
from orchestration.composition import Composer
from orchestration.plan import make_plan, print_plan
from orchestration.point import Point
from orchestration.refusal import refusal
from orchestration.standing import standing
from orchestration.sweep_report import check_apart, check_feasible, summarise

# Hydra finds its plugins, and their configurations, by importing the modules of this package.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="plan",
    node={"_target_": "hydra_plugins.plan_sweeper.PlanSweeper"},
    provider="compression-bench",
)


MANY = 1000  # refusals that are enough to see what is wrong


class PlanSweeper(Sweeper):
    """Plan, launch, summarise."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over and make the launcher."""
        self.context = hydra_context
        self.base = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run all combinations of the sweep overrides in `arguments`; exits with 1 if a point failed."""
        points = self.plan(arguments)
        began = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        standings = [standing(point) for point in points]
        pending = []
        for point, now in zip(points, standings, strict=True):
            if now.is_pending:
                pending.append(point)
            if now.kind in ("killed", "running elsewhere"):
                print(f"{point.label}: {now}")
        print(f"{len(points) - len(pending)} done or running elsewhere, {len(pending)} to run")
        if points[0].config["plan"]:
            check_apart(pending)
            print_plan(make_plan(points, standings))
            return
        if pending:
            check_feasible(pending)
        started: set[str] = set()
        reasons: dict[str, str] = {}
        interrupted = None
        try:
            with at_once():
                for batch in self._batches(pending):
                    started |= {point.id for point in batch}
                    reasons |= self._launch(batch)
                    if batch[0].config["fail_fast"] and reasons.keys() & started:
                        break
        except (Interrupted, KeyboardInterrupt) as error:
            interrupted = error
        code = summarise(points, started, reasons, began)
        if interrupted is not None:
            raise interrupted
        if code:
            sys.exit(code)

    def _batches(self, points: list[Point]) -> list[list[Point]]:
        """What to hand to the launcher at once: Hydra's own keeps all that it ever started, so it gets one point."""
        if isinstance(self.launcher, BasicLauncher) or any(point.config["fail_fast"] for point in points):
            return [[point] for point in points]
        return [points] if points else []

    def _launch(self, points: list[Point]) -> dict[str, str]:
        """Start points; returns why some did not end well, by id. Their rows are on disk, and say more."""
        try:
            jobs = self.launcher.launch([list(point.overrides) for point in points], initial_job_idx=0)
        except Exception as error:  # a launcher whose processes die
            return {point.id: _reason(error) for point in points}
        reasons = {}
        for point, job in zip(points, jobs, strict=True):
            try:
                status = str(job.return_value)
            except Exception as error:  # a job's exception is handed over on access
                status = _reason(error)
            if status not in ("ok", "running elsewhere"):
                reasons[point.id] = status
        return reasons

    def plan(self, arguments: list[str]) -> list[Point]:
        """Compose and check every combination; equal ones are one point. Exits if any is refused."""
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # for the syntax of sweeps alone

        parsed = OverridesParser.create(config_loader=self.context.config_loader).parse_overrides(arguments)
        (combinations,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        compose = Composer(self.context.config_loader, self.base)
        points: dict[str, Point] = {}
        problems: dict[str, int] = {}
        num_refused = 0
        for overrides in combinations:
            try:
                point = compose(overrides)
                points.setdefault(point.id, point)
            except Exception as error:
                lines = refusal(error)
                if not lines:
                    raise
                for line in lines:
                    problems[line] = problems.get(line, 0) + 1
                num_refused += 1
                if num_refused == MANY:
                    problems["and so on; the other points were not looked at"] = 1
                    break
        if problems:
            for problem, count in problems.items():
                print(f"error: {problem}{f'  [{count} points]' if count > 1 else ''}", file=sys.stderr)
            sys.exit("error: the sweep was refused before anything ran")
        if not points:
            sys.exit("error: the sweep has no points: an override has no values, as a glob that matches nothing")
        repeated = len(combinations) - len(points)
        dropped = f" ({_number(repeated, 'repetition')} dropped)" if repeated else ""
        print(f"{_number(len(points), 'point')}{dropped}")
        return list(points.values())


def _reason(error: Exception) -> str:
    return "; ".join(refusal(error) or [f"failed: {type(error).__name__}: {' '.join(str(error).split())}"])


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
