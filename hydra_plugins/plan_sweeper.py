"""The sweeper behind `-m`: compose and check every point first, run each once, tell at the end how all went.

Hydra's own sweeper composes points without checking values, runs equal points twice and reports only the first
failure. This one refuses the whole sweep before anything trains if a point is wrong, and its exit code counts.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from orchestration.point import Point
from orchestration.refusal import refusal

# Hydra finds its plugins, and their configurations, by importing the modules of this package.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="plan",
    node={"_target_": "hydra_plugins.plan_sweeper.PlanSweeper"},
    provider="compression-bench",
)


class PlanSweeper(Sweeper):
    """Plan, launch, summarise."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over and make the launcher."""
        self.context = hydra_context
        self.base = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run all combinations of the sweep overrides in `arguments`; exits with 1 if a point failed."""
        points = self.plan(arguments)
        from orchestration.sweep_report import check_feasible, summarise

        check_feasible(points)
        began = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        try:
            returned = self.launcher.launch([list(point.overrides) for point in points], initial_job_idx=0)
        except KeyboardInterrupt:
            summarise(points, None, began)
            raise
        except Exception as error:  # Ray's worker died again and again, a job of Slurm ended without a result
            summarise(points, None, began)
            first_line = str(error).strip().partition("\n")[0]
            sys.exit(f"error: the launcher gave up: {first_line or type(error).__name__}")
        if not summarise(points, returned, began):
            sys.exit(1)
        return returned

    def plan(self, arguments: list[str]) -> list[Point]:
        """Compose and check every combination; equal ones are one point. Exits if any is refused."""
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # for the syntax of sweeps alone

        parsed = OverridesParser.create(config_loader=self.context.config_loader).parse_overrides(arguments)
        (combinations,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        points: dict[str, Point] = {}
        problems: dict[str, int] = {}
        for overrides in combinations:
            try:
                config = self.context.config_loader.load_sweep_config(self.base, list(overrides))
                point = Point.from_hydra(config, config.hydra)
                points.setdefault(point.id, point)
            except Exception as error:
                lines = refusal(error)
                if not lines:
                    raise
                for line in lines:
                    problems[line] = problems.get(line, 0) + 1
        if problems:
            for problem, count in problems.items():
                print(f"error: {problem}{f'  [{count} points]' if count > 1 else ''}", file=sys.stderr)
            sys.exit("error: the sweep was refused before anything ran")
        repeated = len(combinations) - len(points)
        dropped = f" ({_number(repeated, 'repetition')} dropped)" if repeated else ""
        print(f"{_number(len(points), 'point')}{dropped}")
        return list(points.values())


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
