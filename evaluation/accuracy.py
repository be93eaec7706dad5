"""Accuracy and loss of a network over batches, the same for every method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Accuracy:
    """Share of samples whose most probable class is right, in percent, and mean cross-entropy in nats.

    `top5_percent` is None below 100 classes.
    """

    top1_percent: float
    top5_percent: float | None
    loss: float


@torch.no_grad()
def accuracy(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device | str) -> Accuracy:
    """Evaluate `network` in evaluation mode; its mode is restored. A network that outputs NaN has a NaN loss."""
    was_training = network.training
    network.eval()
    hits = torch.zeros(2, dtype=torch.float64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    num, num_classes = 0, 0
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)
        logits = network(images)  # (batch, classes)
        num_classes = logits.shape[1]
        ranked = logits.topk(min(5, num_classes), dim=1).indices == labels[:, None]
        hits += torch.stack([ranked[:, 0].sum(), ranked.sum()])
        loss += functional.cross_entropy(logits.float(), labels, reduction="sum")
        num += len(labels)
    network.train(was_training)
    if num == 0:
        raise ValueError("accuracy: expected at least one batch, got none")
    top1, top5 = (100 * hits / num).tolist()
    return Accuracy(top1, top5 if num_classes >= 100 else None, float(loss) / num)
