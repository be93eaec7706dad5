"""Log a point to Weights & Biases: one run a point, also where many points share a process.

The run has the id of the point, so that a point which is killed and resumed continues its run. What is logged is kept
until the point is done (`logged_lines`): a run that lacks a part of it, as every new offline run does, gets it first.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from evaluation.result import Result
from orchestration.run.logged_lines import STEP, LoggedLines
from orchestration.store.owned_files import NETWORK
from reporting.wandb import variables
from reporting.wandb.client import prepare, write_row


class WandB(WandbLogger):
    """Lightning's W&B logger; `artifact` uploads the compressed network too, `entity` owns the project (None: you).

    What is None is as the environment says: `reporting.wandb.variables`.
    """

    def __init__(
        self,
        project: str | None = None,
        offline: bool | None = None,
        artifact: bool = False,
        entity: str | None = None,
        **arguments: Any,
    ) -> None:
        prepare()
        super().__init__(project=variables.project(project), entity=entity, **arguments)
        # Lightning's own `offline` would set WANDB_MODE for every point after this one.
        self._wandb_init["mode"] = self.mode = variables.mode(offline)
        self._wandb_init.pop("anonymous")  # wandb warns of it, whatever its value
        self.artifact = artifact
        self.kept: LoggedLines | None = None

    def leave(self) -> None:
        """Switch to offline mode: from here on the run is written to disk only."""
        self._experiment = None
        self._wandb_init["mode"] = self.mode = "offline"

    def open(self, path: Path, origin: Mapping[str, Any]) -> None:
        """Open the run, and keep its lines at `path`."""
        _ = self.experiment
        self.keep_lines(path, origin)

    def keep_lines(self, path: Path, origin: Mapping[str, Any]) -> None:
        """Keep what is logged at `path`; log what is there and the run lacks, in the place of the runs that had it."""
        run = self.experiment
        folder = Path(run.dir).parent
        self.kept = LoggedLines(path, origin, run.step, folder)
        for line in self.kept.lines[max(0, run.step - self.kept.first) :]:
            run.log(line)
        for earlier in self.kept.earlier_folders:
            if earlier != folder and earlier.name.startswith("offline-run-"):
                shutil.rmtree(earlier, ignore_errors=True)  # `wandb sync` would send its lines once more

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log one line of the history, unless it is kept from a process that was killed."""
        numbers = {name: float(value) for name, value in metrics.items()}  # NumPy's are no JSON
        if self.kept is None or self.kept.add({**numbers, STEP: step}):
            super().log_metrics(numbers, step)

    def write(self, result: Result, directory: Path, *, is_done: bool) -> None:
        """Write the row into the run; of a point that `is_done` nothing is kept for another process."""
        write_row(self.experiment, result, directory / NETWORK if self.artifact and result.is_ok else None)
        if is_done and self.kept is not None:
            self.kept.remove()
