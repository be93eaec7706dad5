"""Log a point to Weights & Biases: one run a point, also where many points share a process.

The run has the id of the point, so that a point which is killed and resumed continues its run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from pytorch_lightning.loggers import Logger, WandbLogger

from evaluation.result import Result
from orchestration.config.point import Point
from orchestration.store.point_files import NETWORK
from reporting.wandb.client import comes_from_outside, explain, is_mistake, prepare, write_row
from reporting.wandb.names import run_arguments
from runtime.console import say


class WandB(WandbLogger):
    """Lightning's W&B logger; `artifact` uploads the compressed network too, `entity` owns the project (None: you)."""

    def __init__(
        self, project: str, offline: bool = True, artifact: bool = False, entity: str | None = None, **arguments: Any
    ) -> None:
        prepare()
        # Lightning's own `offline` would set WANDB_MODE for every point after this one.
        super().__init__(project=project, entity=entity, **arguments)
        if offline:
            self._wandb_init["mode"] = "offline"
        self._wandb_init.pop("anonymous")  # wandb warns of it, whatever its value
        self.artifact = artifact

    def leave(self) -> None:
        """Switch to offline mode: from here on the run is written to disk only."""
        import wandb

        wandb.teardown()  # to its service process the run that could not be opened is in use
        self._wandb_init["mode"] = "offline"


def start_logger(point: Point) -> Logger | None:
    """Open the point's run; return None if the point has no logger.

    Raises `ValueError` if a login is missing, before anything trains. If the server is unreachable, one warning is
    printed and the run is written to disk only.
    """
    node = point.config["logger"]
    if node is None:
        return None
    logger = instantiate(node)(
        save_dir=str(point.directory),
        resume="allow",
        **run_arguments(point.id, point.choices, point.config["seed"], point.config["tags"], point.identity),
    )
    try:
        _ = logger.experiment  # opens the run now
    except Exception as error:
        if not comes_from_outside(error):
            raise
        if is_mistake(error):
            raise ValueError(f"{explain(error)}; or take logger=wandb_offline, which needs no account") from None
        say(f"{point.label}: {explain(error)}; this run is written to disk only, `report.py --wandb` sends its row")
        logger.leave()
        _ = logger.experiment
    return logger


def finish_logger(logger: Logger | None, result: Result, directory: Path) -> None:
    """Write the row into the run and close the run, so that the next point opens its own."""
    try:
        if isinstance(logger, WandB):
            network = directory / NETWORK if logger.artifact and result.is_ok else None
            write_row(logger.experiment, result, network)
    finally:
        if "wandb" in sys.modules:
            sys.modules["wandb"].finish(exit_code=0 if result.is_ok else 1)
