"""The sweeper behind `-m`: compose and check every point first, run each once, tell at the end how all went.

Hydra's own sweeper composes points without checking values, runs equal points twice and reports only the first
failure. This one refuses the whole sweep before anything trains if a point is wrong, and its exit code counts.
"""

from __future__ import annotations

import sys
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from orchestration.point import Point
from orchestration.schema import ConfigError

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
        returned = self.launcher.launch([list(point.overrides) for point in points], initial_job_idx=0)
        if not summarise(points, returned):
            sys.exit(1)
        return returned

    def plan(self, arguments: list[str]) -> list[Point]:
        """Compose and check every combination; equal ones are one point. Exits if any is refused."""
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # for the syntax of sweeps alone

        parsed = OverridesParser.create(config_loader=self.context.config_loader).parse_overrides(arguments)
        (combinations,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
        points: dict[str, Point] = {}
        problems: dict[str, list[str]] = {}
        for overrides in combinations:
            config = self.context.config_loader.load_sweep_config(self.base, list(overrides))
            try:
                point = Point.from_hydra(config, config.hydra)
                points.setdefault(point.id, point)
            except (ConfigError, ConfigCompositionException) as error:
                problems.setdefault(str(error), []).append(" ".join(overrides))
        if problems:
            for problem, where in problems.items():
                print(
                    f"error: {problem}  [{where[0]}{f' and {len(where) - 1} more' if where[1:] else ''}]",
                    file=sys.stderr,
                )
            sys.exit(f"error: the sweep was refused before anything ran: {len(problems)} problem(s)")
        if not points:
            sys.exit("error: the sweep has no point")
        print(
            f"{len(points)} points"
            + (f" ({len(combinations) - len(points)} repetitions dropped)" if len(points) < len(combinations) else "")
        )
        return list(points.values())
