"""Turn bytes into what a network reads: `(samples / scale − mean) / deviation`, in float32, on the samples' device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from runtime.digest import digest_bytes


@dataclass(frozen=True)
class Normalise:
    """Divide by `scale`, the largest value, subtract `mean` and divide by `deviation` unless that is None.

    `mean` has the shape of a sample, or `(channel, 1, …)`.
    """

    scale: float
    mean: Float[Tensor, "..."]
    deviation: Float[Tensor, "..."] | None = None

    def __call__(self, samples: UInt8[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the normalised batch."""
        values = samples.to(torch.float32).div_(self.scale).sub_(self.mean)
        return values if self.deviation is None else values.div_(self.deviation)

    def __str__(self) -> str:
        """Return it in the words of a row; a mean image by its digest."""
        if any(size > 1 for size in self.mean.shape[1:]):
            mean = f"mean image {digest_bytes([self.mean.cpu().contiguous().numpy().data])}"
        else:
            mean = f"mean {_numbers(self.mean)}" if self.mean.any() else ""
        deviation = "" if self.deviation is None else f"std {_numbers(self.deviation)}"
        return ", ".join(filter(None, (mean, deviation))) or "none"

    def to(self, device: torch.device | str) -> Normalise:
        """Return a copy on `device`."""
        deviation = None if self.deviation is None else self.deviation.to(device)
        return Normalise(self.scale, self.mean.to(device), deviation)


def _numbers(values: Tensor) -> str:
    return " ".join(f"{value:.6g}" for value in values.flatten().tolist())
