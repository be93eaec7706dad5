"""A network under training as a Lightning module: one loss, one phase of a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional

from evaluation.accuracy import Accuracy
from lightning_modules.training.schedule import Phase
from runtime.distributed import all_reduce, group, sample_weight


class Diverged(ArithmeticError):
    """Training whose loss is NaN or infinite: the point ends as a row with this status."""


def require_finite_loss(found: Accuracy) -> Accuracy:
    """Return what was measured; raises `Diverged` if the network's loss is not a number: its accuracy means nothing."""
    if not math.isfinite(found.loss):
        raise Diverged(f"the network's loss is {found.loss} when it is evaluated; lower the learning rate")
    return found


# The loss of `(images, logits, labels)`, a mean over the batch.
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """The usual loss, in nats."""
    return functional.cross_entropy(logits, labels)


class Classifier(LightningModule):
    """Minimise a loss over one phase. `rate_factor` multiplies the phase's learning rate."""

    def __init__(self, network: nn.Module, phase: Phase, rate_factor: float = 1.0, loss: Loss = cross_entropy) -> None:
        super().__init__()
        self.network = network
        self.run: Callable[[Tensor], Any] = network.__call__  # the Runner may put its compiled form here
        self.phase = phase
        self.rate_factor = rate_factor
        self.loss = loss
        self.mean_loss = math.nan
        self.curve: list[dict[str, float]] = []  # an entry an epoch
        self._loss_sum: Tensor | None = None

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch; summed on the device and read once an epoch, for reading it waits for the device."""
        images, labels = batch
        loss = self.loss(images, self.run(images), labels)
        if batch_idx + 1 == self.trainer.num_training_batches:  # all others are full
            loss = loss * sample_weight(len(labels))
        detached = loss.detach()
        self._loss_sum = detached.clone() if self._loss_sum is None else self._loss_sum.add_(detached)
        return loss

    def on_train_epoch_end(self) -> None:
        """Read the epoch's mean loss; raises `Diverged` if it is not a number."""
        assert self._loss_sum is not None
        self.mean_loss = float(all_reduce(self._loss_sum)) / group().size / int(self.trainer.num_training_batches)
        self._loss_sum = None
        if not math.isfinite(self.mean_loss):
            raise Diverged(
                f"the loss is {self.mean_loss} after epoch {self.current_epoch + 1}; lower the learning rate"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was measured: a phase that was over has no epoch left to measure it in."""
        checkpoint |= {"mean_loss": self.mean_loss, "curve": self.curve, "loss_sum": self._loss_sum}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        self.mean_loss, self.curve = checkpoint["mean_loss"], checkpoint["curve"]
        self._loss_sum = checkpoint["loss_sum"]

    def configure_optimizers(self) -> Any:
        """SGD and the phase's decay, stepped once an epoch."""
        optimizer = self.phase.optimizer(self.network, self.rate_factor)
        epochs = max(self.phase.epochs, 1)
        return [optimizer], [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: self.phase.decay(epoch / epochs))
        ]
