"""Run phases of training: each with a new Trainer, all on the same data, logger and seed.

A change of structure starts a new phase, so that no optimiser holds parameters that are gone. The order of the samples
and the random numbers of a phase depend only on the seed and the numbers of the phase and epoch, so that a resumed run
ends with the numbers of one that was never stopped.
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
from lightning_modules.training.callbacks import ResumableTraining
from lightning_modules.training.checkpoint import Checkpoint, Position, copy_state
from lightning_modules.training.classifier import Classifier, Diverged
from lightning_modules.training.schedule import Schedule
from lightning_modules.training.trainer_config import TrainerConfig
from lightning_modules.training.unused_parameters import has_unused_parameters
from runtime.console import bar
from runtime.distributed import all_reduce, broadcast_tensors, group
from runtime.signals import check_interrupted


class Runner:
    """Train and evaluate the networks of one stage of a point; count its epochs, steps and phases.

    Args:
        data: the parts of the dataset, set up.
        schedule: the recipe; its batch size is that of every phase.
        trainer_config: how to compute.
        logger: gets the metrics; None logs nothing.
        seed: determines the order of the samples and the random numbers.
        stage: "reference" or "method", the prefix of the logged loss.
        build: returns the untrained network, for methods that train from scratch.
        checkpoint: lets a killed run resume; None keeps nothing.
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
        """Fit `module` for the epochs of its phase, under a progress bar called `title` if `show`.

        With `validate` the module's curve has the validation accuracy, which costs a pass over that part every epoch.
        Raises `Diverged` if the loss or a weight is NaN or infinite.
        """
        epochs = module.phase.epochs
        if epochs == 0:
            return
        self.num_phases += 1
        self.reseed()
        resumes = self.checkpoint is not None and self.checkpoint.phase == self.num_phases
        batches = self.data.train_batches(self.schedule.batch_size, self.seed, self.device)
        batches.epoch, batches.share = self.epochs, group().share
        with bar(title, epochs) if show else nullcontext(lambda note: None) as advance:
            remaining = SkipBatches(self._limited(batches))
            callback = ResumableTraining(self, batches, remaining, advance, validate)
            has_unused = group().size > 1 and has_unused_parameters(module.network, self.data.input_shape)
            trainer = self.trainer_config.trainer(epochs, [callback], has_unused=has_unused)
            module.train()
            with self.trainer_config.training_forward(module.network) as module.forward_network:
                path = self.checkpoint.path if resumes and self.checkpoint is not None else None
                self._try_checkpoint(resumes)
                trainer.fit(module, train_dataloaders=remaining, ckpt_path=path, weights_only=True)
                self._try_checkpoint(False)
        if not all(bool(parameter.isfinite().all()) for parameter in module.network.parameters()):
            raise Diverged(f"a weight is NaN or infinite after {title}; lower the learning rate")
        if group().size > 1:  # from here on all processes draw the same random numbers
            self.reseed(epochs)
        self.epochs += epochs
        self.steps += trainer.global_step
        module.to(self.device)  # Lightning hands the module back on the CPU
        broadcast_tensors(module.network.buffers())

    def untrained(self) -> nn.Module:
        """Return a new network as it was before any training; equal at every call."""
        assert self.build is not None, "a Runner whose methods train from scratch is given `build`"
        return self.build()

    def load_state(self) -> dict[str, Any] | None:
        """Return the state that the method last saved in a process that was stopped, or None if there is none.

        The counts of epochs, steps and phases become those of that moment.
        """
        if self.checkpoint is None or self.checkpoint.position.state is None:
            return None
        position = self.checkpoint.position
        self._try_checkpoint(True)
        self.epochs, self.steps, self.num_phases = position.epochs, position.steps, position.num_phases
        return copy_state(position.state)  # the method may change it in place; the next checkpoint needs it as it is

    def save_state(self, state: dict[str, Any]) -> None:
        """Keep the `state` from which the method can resume here: plain values and tensors, which are copied.

        Raises `Interrupted` if the process was asked to end.
        """
        if self.checkpoint is not None:
            self.checkpoint.update(Position(state, self.epochs, self.steps, self.num_phases))
        check_interrupted()

    def reseed(self, epoch: int = 0, process: int = 0) -> None:
        """Seed the random numbers of one epoch of the current phase, in the process of rank `process`."""
        own = process * 1_000_033  # dropout differs between processes, as it does between samples
        torch.manual_seed(((self.seed * 1_000_003 + self.num_phases) * 100_003 + epoch + own) % 2**63)

    def train_batches(self) -> Iterable[tuple[Tensor, Tensor]]:
        """Return the training part, shuffled by the seed, in the schedule's batches."""
        return self._limited(self.data.train_batches(self.schedule.batch_size, self.seed, self.device))

    def calibration_batches(self, num_samples: int) -> FirstBatches:
        """Return the first batches of the training part that hold `num_samples`; of each, this process's share."""
        batches = self.data.train_batches(self.schedule.batch_size, self.seed, self.device)
        batches.share = group().share
        limit = self.trainer_config.limit_batches
        wanted = math.ceil(num_samples / self.schedule.batch_size)
        return FirstBatches(batches, wanted if limit is None else min(wanted, limit))

    def validate(self, network: nn.Module) -> Accuracy:
        """Return the accuracy on the validation part, the only part that may choose anything.

        Every process must call it. The device of `network` becomes the Trainer's.
        """
        return self._accuracy(network, self.data.validation_batches(self.device))

    def test(self, network: nn.Module) -> Accuracy:
        """Return the accuracy on the test part, for the row of results; every process must call it."""
        return self._accuracy(network, self.data.test_batches(self.device))

    def _try_checkpoint(self, is_untried: bool) -> None:
        """Note that what a checkpoint holds is being taken up, or that the run has gone on from it."""
        if self.checkpoint is not None:
            self.checkpoint.is_untried = is_untried

    def _accuracy(self, network: nn.Module, batches: Batches) -> Accuracy:
        self._try_checkpoint(False)
        batches.share = group().share
        return accuracy(network.to(self.device), self._limited(batches), self.device, all_reduce)

    def log(self, metrics: dict[str, Any]) -> None:
        """Log the finite numbers among `metrics`, at the step reached so far."""
        if self.logger is not None:
            numbers = {k: v for k, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)}
            self.logger.log_metrics(numbers, step=self.steps)

    def _limited(self, batches: Batches) -> Batches | FirstBatches:
        limit = self.trainer_config.limit_batches
        return batches if limit is None else FirstBatches(batches, limit)


def quiet_lightning() -> None:
    """Let Lightning print only errors: every one of many Trainers would print its settings."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
