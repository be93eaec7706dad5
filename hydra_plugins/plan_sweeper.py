"""The sweeper behind `-m`: compose and check every point first, run each once, tell at the end how all went.

Hydra's own sweeper composes points without checking values, runs equal points twice and reports only the first
failure. This one refuses the whole sweep before anything trains if a point is wrong, and its exit code counts.
"""

from __future__ import annotations

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from orchestration.sweep.grid import expand_grid
from orchestration.sweep.sweep import Sweep


class PlanSweeper(Sweeper):
    """Compose and check the grid, run what is pending, print the summary."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what Hydra passes and make the launcher."""
        self.context = hydra_context
        self.base = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run all combinations of the sweep overrides in `arguments`; exits with 1 if a point failed."""
        points = expand_grid(self.context.config_loader, self.base, arguments)
        sweep = Sweep(self.launcher, self.base)
        pending = sweep.add(points)
        print(f"{len(points) - len(pending)} done or running elsewhere, {len(pending)} to run")
        if points[0].config["plan"]:
            sweep.print_plan(pending)
            return
        with sweep.summed_up():
            sweep.run(pending)
