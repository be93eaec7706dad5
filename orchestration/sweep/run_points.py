"""Run the points of a sweep: here, in a process forked for them, or by a launcher for other processes.

Points of a sweep on this machine are run by the function that runs any point, with the point that was composed and
checked here. Hydra's launchers for other processes get overrides, which each process composes again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from hydra.core.utils import env_override
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from orchestration.config.error_messages import error_lines
from orchestration.config.point import Point
from orchestration.errors import RunsElsewhere
from orchestration.store.status import read_status
from orchestration.sweep.launchers import start_ray
from orchestration.sweep.preflight import (
    CHECKING,
    in_check,
    killed_by,
    killed_check,
    preflight,
    preflight_in_subprocess,
    report_killed,
)
from orchestration.sweep.summary import GIVEN_UP
from runtime.console import say
from runtime.forked import Tell, run_forked
from runtime.messages import one_line
from runtime.signals import SIGNALS, Interrupted, interrupt_at_once

# Told by its name: Hydra executes the modules of its plugins again when it looks for plugins, so that a class imported
# before is another one.
IN_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
EXIT_CODES = {Interrupted(number).exit_code for number in SIGNALS}


class PointRunner:
    """Runs points on the launcher of a command, `base`; `ended` says why those started failed, or None, by id."""

    def __init__(self, launcher: Launcher, base: DictConfig) -> None:
        self.launcher = launcher
        self.base = base
        self.ended: dict[str, str | None] = {}

    @property
    def is_in_process(self) -> bool:
        """Return True if points run in children of this process, and not by a launcher for other processes."""
        return bool(self.base.hydra.launcher._target_ == IN_PROCESS)

    @property
    def is_here(self) -> bool:
        """Return True if points run on this machine."""
        ray = self.base.hydra.launcher.get("ray")
        return self.is_in_process or (ray is not None and ray.init.address is None)

    def run(self, points: Sequence[Point]) -> None:
        """Run points; raises `Interrupted`, and exits with 1 if the check before it refuses one."""
        self._run_here(list(points)) if self.is_in_process else self._hand_over(list(points))

    def _run_here(self, points: list[Point]) -> None:
        """Run points one after another in a forked process; after one that is killed, the rest in the next process."""
        rest, is_checked = points, False
        while rest:
            told, code = run_forked(partial(self._work, rest, is_first=not is_checked))
            messages = [message for message in told if message[0] != CHECKING]
            self.ended |= dict(messages)
            started = [id for id, _ in messages]
            is_checked = is_checked or bool(started)
            if code in EXIT_CODES:
                raise Interrupted(code - 128)
            if code > 0 and not started:
                sys.exit(code)  # refused, and said there
            if code >= 0:
                return
            if not started:
                failed = {killed_check(told, code): in_check(code)}
                self.ended |= report_killed(rest, failed)
                if points[0].config["fail_fast"]:
                    return
                rest = [point for point in rest if point.variant not in failed]
                continue
            how = killed_by(code)
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
                preflight(points, tell)
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
        one_by_one = points[0].config["fail_fast"]
        failed = preflight_in_subprocess(points, is_here=self.is_here, writes=True)
        self.ended |= failed
        points = [point for point in points if point.id not in failed]
        if not points or (failed and one_by_one):
            return
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
                if self.is_here:  # elsewhere they are still in the queue
                    lost = [p for p in batch if GIVEN_UP in (outcomes[p.id] or "") and read_status(p).kind == "new"]
                    batches += [lost] if 0 < len(lost) < len(batch) else []

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
