"""The sweeper behind `-m`: compose and check every point first, run each once, tell at the end how all went.

Hydra's own sweeper composes points without checking values, runs equal points twice and reports only the first
failure. This one refuses the whole sweep before anything trains if a point is wrong, and its exit code counts.

Points of a sweep on this machine are run by the function that runs any point, with the point that was composed and
checked here. Hydra's launchers for other processes get overrides, which each process composes again.
"""

from __future__ import annotations

import signal
import sys
from functools import partial

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import env_override
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from orchestration.config.error_messages import error_lines
from orchestration.config.point import Point
from orchestration.errors import RunsElsewhere
from orchestration.store.status import read_status
from orchestration.sweep.grid import expand_grid
from orchestration.sweep.launchers import start_ray, stop_ray
from orchestration.sweep.plan import make_plan, print_plan
from orchestration.sweep.preflight import preflight, preflight_in_subprocess, require_equal_devices
from orchestration.sweep.summary import GIVEN_UP, earlier_rows, summarise
from runtime.console import say
from runtime.forked import Tell, run_forked
from runtime.messages import one_line
from runtime.signals import SIGNALS, Interrupted, interrupt_at_once

# Hydra finds its plugins, and their configurations, by importing the modules of this package.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="plan",
    node={"_target_": "hydra_plugins.plan_sweeper.PlanSweeper"},
    provider="compression-bench",
)


EXIT_CODES = {Interrupted(number).exit_code for number in SIGNALS}


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
        statuses = [read_status(point) for point in points]
        pending = []
        for point, now in zip(points, statuses, strict=True):
            if now.is_pending:
                pending.append(point)
            if now.kind in ("killed", "running elsewhere"):
                print(f"{point.label}: {now}")
        print(f"{len(points) - len(pending)} done or running elsewhere, {len(pending)} to run")
        if pending and not isinstance(self.launcher, BasicLauncher):
            require_equal_devices(pending, self.base)
        if points[0].config["plan"]:
            preflight_in_subprocess(pending, is_here=self._is_here)
            print_plan(make_plan(points, statuses))
            return
        earlier = earlier_rows(points)
        # Why points that were started failed, or None, by id.
        self.ended: dict[str, str | None] = {}
        interrupted = None
        try:
            self._run_here(pending) if isinstance(self.launcher, BasicLauncher) else self._hand_over(pending)
        except (Interrupted, KeyboardInterrupt) as error:
            interrupted = error
            stop_ray()
            self.ended |= {id: f"interrupted: {error}" for id, reason in self.ended.items() if reason is None}
        code = summarise(points, statuses, self.ended, earlier)
        if interrupted is not None:
            raise interrupted
        if code:
            sys.exit(code)

    def _run_here(self, points: list[Point]) -> None:
        """Run points one after another in a forked process; after one that is killed, the rest in the next process."""
        rest = points
        while rest:
            messages, code = run_forked(partial(self._work, rest, is_first=rest is points))
            self.ended |= dict(messages)
            started = [id for id, _ in messages]
            if code in EXIT_CODES:
                raise Interrupted(code - 128)
            if code > 0 and not started:
                sys.exit(code)  # refused, and said there
            if code >= 0:
                return
            how = f"killed by signal {-code}{' (short of memory?)' if code == -signal.SIGKILL else ''}"
            if not started:
                sys.exit(f"error: the process that loads torch was {how}")
            killed = next(point for point in rest if point.id == started[-1])
            self.ended[killed.id] = f"failed: its process was {how}"
            print(f"{killed.label} ({killed.id}): {self.ended[killed.id]}")
            if points[0].config["fail_fast"]:
                return
            rest = [point for point in rest if point.id not in started]

    def _work(self, points: list[Point], tell: Tell, *, is_first: bool) -> None:
        """Run points in this process; tell the id of each before it, and after it why it failed, or None."""
        with interrupt_at_once(), env_override(dict(self.base.hydra.job.env_set)):
            if is_first:
                preflight(points)
            from orchestration.run.run_point import run_point  # torch: only where something is to be run

            for point in points:
                tell([point.id, None])
                try:
                    reason = _failure_or_none(run_point(point).status)
                except RunsElsewhere as error:
                    say(str(error))
                    reason = None
                except Exception as error:
                    reason = _reason(error)
                tell([point.id, reason])
                if reason is not None and point.config["fail_fast"]:
                    break

    def _hand_over(self, points: list[Point]) -> None:
        """Pass points to a launcher for other processes, all at once, so that it decides what runs side by side."""
        if not points:
            return
        preflight(points, is_here=self._is_here)
        one_by_one = points[0].config["fail_fast"]
        batches = [[point] for point in points] if one_by_one else [points]
        if "ray" in self.base.hydra.launcher:
            start_ray(self.base.hydra.launcher.ray.init)
        with interrupt_at_once():
            while batches:
                batch = batches.pop(0)
                self.ended |= dict.fromkeys(point.id for point in batch)
                self.ended |= (outcomes := self._launch(batch))
                if one_by_one and any(outcomes.values()):
                    break
                if self._is_here:  # elsewhere they are still in the queue
                    lost = [p for p in batch if GIVEN_UP in (outcomes[p.id] or "") and read_status(p).kind == "new"]
                    batches += [lost] if 0 < len(lost) < len(batch) else []

    @property
    def _is_here(self) -> bool:
        """Return True if points run on this machine."""
        ray = self.base.hydra.launcher.get("ray")
        return isinstance(self.launcher, BasicLauncher) or (ray is not None and ray.init.address is None)

    def _launch(self, points: list[Point]) -> dict[str, str | None]:
        """Launch points; return why each failed, or None, by id. Their rows are on disk, and say more."""
        try:
            jobs = self.launcher.launch([list(point.overrides) for point in points], initial_job_idx=0)
        except Exception as error:  # it gives up all when one process dies: whose, nobody says
            return {point.id: f"{GIVEN_UP} ({_reason(error)})" for point in points}
        reasons = {}
        for point, job in zip(points, jobs, strict=True):
            try:
                status = str(job.return_value)
            except Exception as error:  # a job's exception is handed over on access
                status = _reason(error)
            reasons[point.id] = _failure_or_none(status)
        return reasons


def _failure_or_none(status: str) -> str | None:
    return None if status in ("ok", "running elsewhere") else status


def _reason(error: Exception) -> str:
    return "; ".join(error_lines(error) or [f"failed: {type(error).__name__}: {one_line(error)}"])
