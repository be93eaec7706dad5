"""Let no logger decide what is computed: each of its calls may fail, and none waits longer than its limit.

The first failure of a point's logger is one line, and nothing more of that point is logged: its row has it, and
`report.py --wandb` sends the row. Each point starts a client of its own. Where the server is what fails, later points
are written to disk only, so that it is waited for once in a process and not once a point.
"""

from __future__ import annotations

import atexit
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hydra.utils import instantiate
from pytorch_lightning.loggers import Logger

from evaluation.result import Result
from lightning_modules.training.checkpoint import origin
from orchestration.config.point import Point
from orchestration.run.check_logger import is_wandb
from orchestration.run.wandb_logger import WandB
from orchestration.store.point_files import LOGGED
from reporting.wandb import variables
from reporting.wandb.client import base_url, comes_from_outside, drop_client, explain, has_service, kill_service
from reporting.wandb.names import run_arguments
from runtime.console import say
from runtime.messages import first_line
from runtime.worker import Worker

T = TypeVar("T")
CALL_SECONDS = 30.0
# Beyond wandb's own limits, after which it should have given up.
GRACE_SECONDS = 10.0
# The servers that did not answer a run of this process.
_unreachable: set[str] = set()


class GuardedLogger(Logger):
    """A logger that never fails and never waits for long; `inner` is what it guards, None once that has failed."""

    def __init__(self, label: str, *, is_wandb: bool) -> None:
        super().__init__()
        self.label = label
        self.is_wandb = is_wandb
        self.inner: Logger | None = None
        self._worker = Worker()

    @property
    def name(self) -> str:
        return self.label

    @property
    def version(self) -> None:
        return None

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The configuration is given when the logger is made."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log one line."""
        if (inner := self.inner) is not None:
            self.guard(lambda: inner.log_metrics(dict(metrics), step), CALL_SECONDS)

    def start(self, point: Point) -> None:
        """Make the logger and open its run; to a server that does not answer, on disk only."""
        seconds = _seconds("WANDB_INIT_TIMEOUT", 60)
        atexit.register(kill_service)  # of a run that is left unfinished: wandb would wait for it, however long
        try:
            self.inner = inner = self._worker.call(lambda: _make(point), seconds)
            if not isinstance(inner, WandB):
                return
            if inner.mode == "online" and base_url() in _unreachable:
                inner.leave()
            known = origin(of=point.id, force=point.config["force"])
            if inner.mode == "online":
                try:
                    self._worker.call(lambda: inner.open(point.directory / LOGGED, known), seconds)
                    return
                except Exception as error:
                    if not (comes_from_outside(error) or not has_service()):
                        raise
                    self._leave(inner, error)
            self._worker.call(lambda: inner.open(point.directory / LOGGED, known), seconds)
        except Exception as error:
            self._give_up(error)

    def finish(self, result: Result, directory: Path, *, is_done: bool) -> None:
        """Write the row and close the run, so that the next point opens its own."""
        inner = self.inner
        if inner is None:
            return

        def close() -> None:
            try:
                if isinstance(inner, WandB):
                    inner.write(result, directory, is_done=is_done)
                else:
                    inner.finalize("success" if result.is_ok else "failed")
            finally:
                if "wandb" in sys.modules:
                    sys.modules["wandb"].finish(exit_code=0 if result.is_ok else 1)
                    sys.modules["wandb"].teardown()

        self.guard(close, _seconds("WANDB_FINISH_TIMEOUT", 180))
        self.inner = None
        atexit.unregister(kill_service)

    def close(self) -> None:
        """Leave a run that was not finished, or the next point would log into it."""
        if self.inner is not None:
            self.inner = None
            self._drop()
            atexit.unregister(kill_service)

    def guard(self, work: Callable[[], None], seconds: float) -> None:
        """Do what may fail, within `seconds`."""
        try:
            self._worker.call(work, seconds)
        except Exception as error:
            self._give_up(error)

    def _leave(self, inner: WandB, error: Exception) -> None:
        why = explain(error)
        is_server = has_service()  # the client lives, so it is the server that does not answer
        if is_server:
            _unreachable.add(base_url())
        runs = "this run and those after it are" if is_server else "this run is"
        say(f"{self.label}: {why}; {runs} written to disk only, `report.py --wandb` sends the row")
        self._drop()
        inner.leave()

    def _give_up(self, error: Exception) -> None:
        """Say the first failure; log nothing more of this point."""
        inner = self.inner
        if isinstance(inner, WandB) and inner.mode == "online" and comes_from_outside(error) and has_service():
            _unreachable.add(base_url())
        self.inner = None
        later = "`report.py --wandb` sends its row" if self.is_wandb else "its row has all"
        why = f"{type(error).__name__}: {first_line(error)[:200]}"
        say(f"{self.label}: the logger failed ({why}); nothing more of this point is logged, {later}")
        self._drop()
        atexit.unregister(kill_service)

    def _drop(self) -> None:
        self._worker = Worker()  # the other one may be stuck
        if "wandb" in sys.modules:
            drop_client(self._worker)
            self._worker = Worker()


def start_logger(point: Point) -> GuardedLogger | None:
    """Open the point's run; return None if the point has no logger, or the environment disables W&B."""
    node = point.config["logger"]
    if node is None:
        return None
    if made_by_us := is_wandb(instantiate(node)):
        mode = variables.mode(node.get("offline"))
        if node.get("offline") is False and mode != "online":
            say(f"{point.label}: W&B is {mode}: WANDB_MODE or WANDB_DISABLED says so")
        if mode == "disabled":
            return None
    logger = GuardedLogger(point.label, is_wandb=made_by_us)
    logger.start(point)
    return logger


def _make(point: Point) -> Logger:
    """Return the logger of the configuration, with as much of what the point knows as its class takes."""
    make = instantiate(point.config["logger"])
    known = {
        "save_dir": str(variables.folder(point.directory)),
        "resume": "allow",
        **run_arguments(point.id, point.choices, point.config["seed"], point.written["tags"], point.identity),
    }
    parameters = inspect.signature(make).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        known = {name: value for name, value in known.items() if name in parameters}
    logger = make(**known)
    if not isinstance(logger, Logger):
        raise TypeError(f"logger: expected a Lightning logger, got {type(logger).__name__}")
    return logger


def _seconds(variable: str, usual: float) -> float:
    try:
        return float(os.environ.get(variable, usual)) + GRACE_SECONDS
    except ValueError:
        return usual + GRACE_SECONDS
