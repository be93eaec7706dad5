"""The options of normalisation that all data sets share: their own way, another one, or given numbers.

Weights that were trained elsewhere read pixels as they were normalised there. With another normalisation they lose
accuracy, and a table would then call a part of this loss a gain of the compression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Gt

from datamodules.normalise import Normalise
from runtime.identity import AsBefore

Kind = Literal["own", "none", "channels", "mean_image"]


@dataclass(frozen=True)
class Normalisation:
    """`(pixel − mean) / std`, pixels of 0 to 1: by given numbers, one for each channel, or as `normalisation` says.

    "own" is what the data set does by itself; "none" leaves pixels as they are. "channels" is the mean and the
    deviation of each channel of the training part; "mean_image" subtracts the mean of its images. `mean` without `std`
    divides by nothing, `std` without `mean` subtracts nothing.
    """

    normalisation: Annotated[Kind, AsBefore("own")] = "own"
    mean: Annotated[list[float] | None, AsBefore(None)] = None
    std: Annotated[list[Annotated[float, Gt(0)]] | None, AsBefore(None)] = None

    @property
    def is_given(self) -> bool:
        """Return True if there are numbers."""
        return self.mean is not None or self.std is not None

    def check(self, kinds: tuple[Kind, ...], num_channels: int) -> None:
        """Raise `ValueError` for a kind that is not among `kinds`, for another number of numbers, and for both."""
        numbers = "dataset.mean=[…] dataset.std=[…]"
        if self.normalisation not in kinds:
            raise ValueError(
                f"dataset.normalisation: expected {' or '.join(kinds)} for these data, got {self.normalisation}"
                + (f"; or give numbers, {numbers}" if "none" in kinds else "")
            )
        if self.is_given and "none" not in kinds:
            raise ValueError(f"{numbers}: these data are normalised in their own way only; leave them out")
        if self.is_given and self.normalisation != "own":
            raise ValueError(f"dataset.normalisation={self.normalisation}: {numbers} say it too; leave one of them out")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != num_channels:
                raise ValueError(
                    f"dataset.{name}: expected {num_channels} numbers, one for each channel, got {len(values)}"
                )

    def fixed(self, scale: float, num_channels: int) -> Normalise | None:
        """Return what needs no data: given numbers, or none; None for the other kinds. `scale` is the largest pixel."""
        if not self.is_given and self.normalisation != "none":
            return None
        mean = torch.tensor(self.mean or [0.0] * num_channels)[:, None, None]  # (channel, 1, 1)
        return Normalise(scale, mean, None if self.std is None else torch.tensor(self.std)[:, None, None])
