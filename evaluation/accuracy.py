"""Accuracy and loss of a network over batches, the same for every method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Accuracy:
    """The share of `num_samples` whose most probable class is right, in percent, and the mean cross-entropy in nats.

    `top5_percent` is the share with the right class among the five most probable; None for fewer than 100 classes.
    """

    top1_percent: float
    top5_percent: float | None
    loss: float
    num_samples: int


@torch.no_grad()
def accuracy(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device | str,
    all_reduce: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Accuracy:
    """Evaluate `network` in evaluation mode over `batches` of samples and labels; restore its mode afterwards.

    Where several processes read a share of the batches each, `all_reduce` adds a tensor of sums over them. A network
    that outputs NaN has a NaN loss. Raises `ValueError` for no sample.
    """
    was_training = network.training
    network.eval()
    # Samples, classes of each, hits of the first, hits among the first five, loss.
    sums = torch.zeros(5, dtype=torch.float64, device=device)
    for images, labels in batches:
        if not len(labels):
            continue
        images, labels = images.to(device), labels.to(device)
        logits = network(images)  # (batch, classes)
        num, num_classes = logits.shape
        ranked = logits.topk(min(5, num_classes), dim=1).indices == labels[:, None]
        hits = torch.stack([ranked[:, 0].sum(), ranked.sum()])
        sums[0] += num
        sums[1] += num * num_classes
        sums[2:4] += hits
        sums[4] += functional.cross_entropy(logits.float(), labels, reduction="sum")
    network.train(was_training)
    total, classes, top1, top5, loss = all_reduce(sums).tolist()
    if total == 0:
        raise ValueError("accuracy: expected at least one batch, got none")
    top5_percent = 100 * top5 / total if classes >= 100 * total else None
    return Accuracy(100 * top1 / total, top5_percent, loss / total, int(total))
