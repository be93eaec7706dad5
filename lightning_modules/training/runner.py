"""Run phases of training: one new Trainer each, on the same data, clock, logger and seed.

A change of structure is a new phase, so an optimiser never holds parameters that are gone. The order of the samples
and the random numbers of a phase depend on the seed and on the number of the phase and epoch alone, so that a run that
goes on from a checkpoint ends with the numbers of one that was never stopped.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

from datamodules.data import Batches, Data
from datamodules.partial_epochs import FirstBatches, SkipBatches
from evaluation.accuracy import Accuracy, accuracy
from lightning_modules.training.callbacks import Epochs
from lightning_modules.training.checkpoint import Checkpoint, Position, copied
from lightning_modules.training.classifier import Classifier, Diverged
from lightning_modules.training.schedule import Schedule
from lightning_modules.training.trainer_config import TrainerConfig
from runtime.console import bar
from runtime.distributed import all_reduce, broadcast_tensors, group
from runtime.signals import check_interrupted


class Runner:
    """Trains and evaluates networks for one `stage` of a point, "reference" or "method"; counts epochs and steps.

    `build` makes the network anew, untrained. Without a `checkpoint` nothing is kept for a run that is killed.
    """

    def __init__(
        self,
        data: Data,
        schedule: Schedule,
        trainer_config: TrainerConfig,
        logger: Logger | None,
        seed: int,
        stage: str = "method",
        *,
        build: Callable[[], nn.Module] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.data = data
        self.schedule = schedule
        self.trainer_config = trainer_config
        self.logger = logger
        self.seed = seed
        self.stage = stage
        self.build = build
        self.checkpoint = checkpoint
        self.epochs = 0
        self.steps = 0
        self.num_phases = 0
        quiet_lightning()
        self.device = trainer_config.device()

    def train(self, module: Classifier, title: str, *, show: bool = True, validate: bool = False) -> None:
        """Fit `module` for the epochs of its phase; raises `Diverged` if its loss is no longer a number.

        With `validate` the module's curve has the validation accuracy too, which costs a pass over that part an epoch.
        """
        epochs = module.phase.epochs
        if epochs == 0:
            return
        self.num_phases += 1
        self.draw_anew()
        goes_on = self.checkpoint is not None and self.checkpoint.phase == self.num_phases
        batches = self.data.train_batches(self.schedule.batch_size, self.seed, self.device)
        batches.epoch, batches.share = self.epochs, group().share
        with bar(title, epochs) if show else nullcontext(lambda note: None) as advance:
            rest = SkipBatches(self._limited(batches))
            trainer = self.trainer_config.trainer(epochs, [Epochs(self, batches, rest, advance, validate)])
            module.train()
            with self.trainer_config.prepared(module.network) as module.run:
                path = self.checkpoint.path if goes_on and self.checkpoint is not None else None
                trainer.fit(module, train_dataloaders=rest, ckpt_path=path, weights_only=True)
        if not all(bool(parameter.isfinite().all()) for parameter in module.network.parameters()):
            raise Diverged(f"a weight is NaN or infinite after {title}; lower the learning rate")
        if group().size > 1:  # what is drawn from here on is the same in all processes
            self.draw_anew(epochs)
        self.epochs += epochs
        self.steps += trainer.global_step
        module.to(self.device)  # Lightning hands the module back on the CPU
        broadcast_tensors(module.network.buffers())

    def untrained(self) -> nn.Module:
        """The network as it was before its training; the same at every call."""
        assert self.build is not None, "a Runner whose methods train from scratch is given `build`"
        return self.build()

    def recall(self) -> dict[str, Any] | None:
        """What the method last asked to `remember` in a process that was stopped; None if this run begins."""
        if self.checkpoint is None or self.checkpoint.position.state is None:
            return None
        position = self.checkpoint.position
        self.epochs, self.steps, self.num_phases = position.epochs, position.steps, position.num_phases
        return copied(position.state)  # what the method changes in place, the next checkpoint still needs

    def remember(self, state: dict[str, Any]) -> None:
        """From here the method could go on, given `state`: plain values and tensors, which are copied."""
        if self.checkpoint is not None:
            self.checkpoint.note(Position(state, self.epochs, self.steps, self.num_phases))
        check_interrupted()

    def draw_anew(self, epoch: int = 0, process: int = 0) -> None:
        """Seed the random numbers of one epoch of the current phase."""
        own = process * 1_000_033  # what drops out differs between the processes, as it does between samples
        torch.manual_seed(((self.seed * 1_000_003 + self.num_phases) * 100_003 + epoch + own) % 2**63)

    def train_batches(self) -> Iterable[tuple[Tensor, Tensor]]:
        """The training part, shuffled by the seed, in the schedule's batches."""
        return self._limited(self.data.train_batches(self.schedule.batch_size, self.seed, self.device))

    def validate(self, network: nn.Module) -> Accuracy:
        """Accuracy on the validation part: the only one that may choose anything. Every process must ask."""
        return self._accuracy(network, self.data.validation_batches(self.device))

    def test(self, network: nn.Module) -> Accuracy:
        """Accuracy on the test part, for the row of results. Every process must ask."""
        return self._accuracy(network, self.data.test_batches(self.device))

    def _accuracy(self, network: nn.Module, batches: Batches) -> Accuracy:
        batches.share = group().share
        return accuracy(network.to(self.device), self._limited(batches), self.device, all_reduce)

    def log(self, metrics: dict[str, Any]) -> None:
        """Send finite numbers to the logger, at the step reached so far."""
        if self.logger is not None:
            numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)}
            self.logger.log_metrics(numbers, step=self.steps)

    def _limited(self, batches: Batches) -> Batches | FirstBatches:
        limit = self.trainer_config.limit_batches
        return batches if limit is None else FirstBatches(batches, limit)


def quiet_lightning() -> None:
    """Let Lightning speak of errors alone: each of many Trainers would introduce itself."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
