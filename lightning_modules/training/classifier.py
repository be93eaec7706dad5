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
    """The loss or a weight became NaN or infinite: the point ends as a row with this status."""


def require_finite_loss(found: Accuracy) -> Accuracy:
    """Return `found`; raises `Diverged` if its loss is NaN or infinite, as its accuracy then means nothing."""
    if not math.isfinite(found.loss):
        raise Diverged(f"the network's loss is {found.loss} when it is evaluated; lower the learning rate")
    return found


# Maps `(images, logits, labels)` to the mean loss of the batch.
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the usual loss, in nats."""
    return functional.cross_entropy(logits, labels)


class Classifier(LightningModule):
    """Minimise a loss over one phase.

    Args:
        network: maps images to logits; trained in place.
        phase: epochs and optimiser.
        rate_factor: multiplies the phase's learning rate.
        loss: the loss of a batch.
    """

    def __init__(self, network: nn.Module, phase: Phase, rate_factor: float = 1.0, loss: Loss = cross_entropy) -> None:
        super().__init__()
        self.network = network
        self.forward_network: Callable[[Tensor], Any] = network.__call__  # the Runner may set its compiled form
        self.phase = phase
        self.rate_factor = rate_factor
        self.loss = loss
        self.mean_loss = math.nan
        self.curve: list[dict[str, float]] = []  # one entry per epoch
        self._loss_sum: Tensor | None = None

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch; the sum stays on the device until the epoch ends, as reading waits for it."""
        images, labels = batch
        loss = self.loss(images, self.forward_network(images), labels)
        if batch_idx + 1 == self.trainer.num_training_batches:  # the only one that may not be full
            loss = loss * sample_weight(len(labels))
        detached = loss.detach()
        self._loss_sum = detached.clone() if self._loss_sum is None else self._loss_sum.add_(detached)
        return loss

    def on_train_start(self) -> None:
        """Take a restored sum to the device that adds to it: a checkpoint is read into the host's memory."""
        if self._loss_sum is not None:
            self._loss_sum = self._loss_sum.to(self.device)

    def on_train_epoch_end(self) -> None:
        """Read the epoch's mean loss; raises `Diverged` if it is NaN or infinite."""
        assert self._loss_sum is not None
        self.mean_loss = float(all_reduce(self._loss_sum)) / group().size / int(self.trainer.num_training_batches)
        self._loss_sum = None
        if not math.isfinite(self.mean_loss):
            raise Diverged(
                f"the loss is {self.mean_loss} after epoch {self.current_epoch + 1}; lower the learning rate"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the measured losses: a run that resumes at the end of its phase has no epoch left to measure them."""
        checkpoint |= {"mean_loss": self.mean_loss, "curve": self.curve, "loss_sum": self._loss_sum}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the measured losses."""
        self.mean_loss, self.curve = checkpoint["mean_loss"], checkpoint["curve"]
        self._loss_sum = checkpoint["loss_sum"]

    def configure_optimizers(self) -> Any:
        """Return SGD and the phase's decay, which is stepped once an epoch."""
        optimizer = self.phase.optimizer(self.network, self.rate_factor)
        epochs = max(self.phase.epochs, 1)
        return [optimizer], [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: self.phase.decay(epoch / epochs))
        ]
