"""Knowledge distillation [HVD15]: a compressed network learns from the reference's outputs and from the labels.

    loss = (1 − w) · CE(z, y) + w · T² · KL(softmax(z_reference/T) ‖ softmax(z/T))

T² keeps the gradient of the second term independent of the temperature T.

[HVD15] Hinton, Vinyals & Dean, Distilling the knowledge in a neural network, arXiv:1503.02531, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Distillation:
    """Take the share `weight` of the loss from the reference (0: none), at the `temperature` T."""

    weight: Annotated[float, Ge(0), Le(1)] = 0.0
    temperature: Annotated[float, Gt(0)] = 4.0


def distillation_loss(logits: Tensor, labels: Tensor, reference_logits: Tensor, settings: Distillation) -> Tensor:
    """Return the loss above, a mean over the batch in nats; both logits are `(batch, classes)`."""
    divergence = functional.kl_div(
        functional.log_softmax(logits / settings.temperature, dim=1),
        functional.log_softmax(reference_logits / settings.temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    own = functional.cross_entropy(logits, labels)
    return (1 - settings.weight) * own + settings.weight * settings.temperature**2 * divergence


class Distilled:
    """The loss of a batch with `reference` as the teacher, which is put in evaluation mode and does not train."""

    def __init__(self, reference: nn.Module, settings: Distillation) -> None:
        self.reference = reference.eval()
        self.settings = settings

    def __call__(self, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Evaluate the reference on the same images and return the loss."""
        with torch.no_grad():
            reference_logits = self.reference(images)
        return distillation_loss(logits, labels, reference_logits, self.settings)
