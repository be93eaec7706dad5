"""What happens between the batches and epochs of a phase: order and random numbers, loss, progress, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from pytorch_lightning import LightningModule, Trainer, callbacks
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

from datamodules.data import Batches
from datamodules.partial_epochs import SkipBatches
from evaluation.accuracy import Accuracy
from lightning_modules.training.checkpoint import KEY, Checkpoint
from lightning_modules.training.classifier import Classifier
from runtime.distributed import broadcast, group
from runtime.signals import check_interrupted, is_interrupted, restore_handlers


class Phases(Protocol):
    """What a `Runner` knows of the phases before this one, and does for it."""

    epochs: int
    steps: int
    num_phases: int
    stage: str
    logger: Logger | None
    checkpoint: Checkpoint | None

    def draw_anew(self, epoch: int = 0, process: int = 0) -> None:
        """Seed the random numbers of one epoch."""

    def validate(self, network: nn.Module) -> Accuracy:
        """Accuracy on the validation part."""
        ...


class Epochs(callbacks.Checkpoint):
    """Chooses each epoch's order and random numbers, logs the loss, moves the bar, keeps the checkpoint.

    A process that was asked to end does so after a batch: what the rest of the epoch needs is in the checkpoint, too.

    Lightning calls checkpoint callbacks last at the end of an epoch, after the module knows its mean loss.
    """

    def __init__(
        self, runner: Phases, batches: Batches, rest: SkipBatches, advance: Callable[[str], None], validate: bool
    ) -> None:
        self.runner = runner
        self.batches = batches
        self.rest = rest
        self.num_done = 0  # batches of the epoch that a checkpoint is written in; 0: at its end
        self.random: Tensor | None = None  # the state that the first batch is to find
        self.advance = advance
        self.validate = validate

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.batches.epoch = self.runner.epochs + trainer.current_epoch
        self.runner.draw_anew(trainer.current_epoch, group().rank)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        restore_handlers()
        self.batches.epoch = self.runner.epochs + trainer.current_epoch  # no epoch starts where one goes on

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.random is not None:
            torch.set_rng_state(self.random)
            self.random = None

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        logger, every = self.runner.logger, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if logger is not None and every and trainer.global_step % every == 0:
            step = self.runner.steps + trainer.global_step
            logger.log_metrics({f"{self.runner.stage}/train_loss": float(outputs["loss"])}, step=step)
        is_last, has_stepped = batch_idx + 1 == trainer.num_training_batches, not trainer.fit_loop._should_accumulate()
        if is_interrupted() and has_stepped and not is_last:  # after the last one the epoch ends
            self.num_done = batch_idx + 1
            if self.runner.checkpoint is not None:
                self.runner.checkpoint.write(trainer.save_checkpoint)
            check_interrupted()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        entry = {"epoch": trainer.current_epoch + 1, "train_loss": module.mean_loss}
        if self.validate:
            entry["validation_top1_percent"] = self.runner.validate(module.network).top1_percent
        module.curve.append(entry)
        self.advance(f"loss {module.mean_loss:.4f}")
        checkpoint = self.runner.checkpoint
        if checkpoint is not None and broadcast(checkpoint.is_due()):
            checkpoint.write(trainer.save_checkpoint)
        check_interrupted()

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.runner.checkpoint is not None:
            checkpoint[KEY] = self.runner.checkpoint.entry(self.runner.num_phases)
            checkpoint[KEY] |= {"num_done": self.num_done, "random": torch.get_rng_state()}

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.rest.start = checkpoint[KEY]["num_done"]
        self.random = checkpoint[KEY]["random"] if self.rest.start else None
