"""The Lightning callback of a phase: order and random numbers of each epoch, loss, progress bar, checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pytorch_lightning import LightningModule, Trainer, callbacks
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

from datamodules.data import Batches
from datamodules.partial_epochs import SkipBatches
from evaluation.accuracy import Accuracy
from lightning_modules.training.checkpoint import KEY, Checkpoint
from lightning_modules.training.classifier import Classifier
from runtime.distributed import broadcast, group
from runtime.random_state import random_state, restore_random_state
from runtime.signals import check_interrupted, is_interrupted, restore_handlers


class PhaseRunner(Protocol):
    """The part of a `Runner` that the callback uses; the counts are those of the phases before this one."""

    epochs: int
    steps: int
    num_phases: int
    stage: str
    logger: Logger | None
    checkpoint: Checkpoint | None

    def reseed(self, epoch: int = 0, process: int = 0) -> None:
        """Seed the random numbers of one epoch."""

    def validate(self, network: nn.Module) -> Accuracy:
        """Return the accuracy on the validation part."""
        ...


class ResumableTraining(callbacks.Checkpoint):
    """Seed each epoch, log its loss, advance the bar, and write the checkpoint from which the phase can resume.

    An interrupted process stops after a batch: its checkpoint also holds what the rest of the epoch needs.

    It is a checkpoint callback because Lightning calls those last at the end of an epoch, when the module knows its
    mean loss.

    Args:
        runner: counts the phases, seeds, validates, and has the logger and the checkpoint.
        batches: the training batches, whose order depends on their `epoch`.
        remaining: wraps `batches`; skips those that the interrupted epoch has done.
        advance: moves the progress bar by one epoch, with a note beside it.
        validate: whether each epoch ends with a pass over the validation part.
    """

    def __init__(
        self,
        runner: PhaseRunner,
        batches: Batches,
        remaining: SkipBatches,
        advance: Callable[[str], None],
        validate: bool,
    ) -> None:
        self.runner = runner
        self.batches = batches
        self.remaining = remaining
        self.num_done = 0  # batches of the epoch before the checkpoint; 0 at the end of an epoch
        self.random_state: dict[str, Tensor] | None = None  # to restore before the first batch
        self.advance = advance
        self.validate = validate

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.batches.epoch = self.runner.epochs + trainer.current_epoch
        self.runner.reseed(trainer.current_epoch, group().rank)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        restore_handlers()
        self.batches.epoch = self.runner.epochs + trainer.current_epoch  # a resumed epoch has no on_train_epoch_start

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.random_state is not None:
            restore_random_state(self.random_state, module.device)
            self.random_state = None

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.runner.checkpoint is not None:
            self.runner.checkpoint.is_untried = False
        has_stepped = not trainer.fit_loop._should_accumulate()
        logger, every = self.runner.logger, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if logger is not None and has_stepped and every and trainer.global_step % every == 0:
            step = self.runner.steps + trainer.global_step
            logger.log_metrics({f"{self.runner.stage}/train_loss": float(outputs["loss"])}, step=step)
        is_last = batch_idx + 1 == trainer.num_training_batches
        if is_interrupted() and has_stepped and not is_last:  # after the last batch, the epoch's end handles it
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
            checkpoint[KEY] = self.runner.checkpoint.metadata(self.runner.num_phases)
            checkpoint[KEY] |= {"num_done": self.num_done, "random": random_state(module.device)}

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.remaining.start = checkpoint[KEY]["num_done"]
        self.random_state = checkpoint[KEY]["random"] if self.remaining.start else None
