"""Random data of any shape, to measure throughput and to try a run without any file on the disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, MaxLen, MinLen
from jaxtyping import Int64, UInt8
from torch import Generator, Tensor

from datamodules.batches import Chosen, EpochBatches
from datamodules.data import Data
from datamodules.normalisation import Kind
from datamodules.normalise import Normalise
from runtime.digest import digest_bytes

# The mean of `pattern + noise`, and about its deviation.
MEAN, DEVIATION = 0.5, 0.2
GRID = 8  # cells along the height and the width of a class's pattern
MAX_NOISES, MAX_POOL_BYTES = 256, 2**25


@dataclass(frozen=True)
class Pool:
    """The pieces of all samples: a coarse pattern of each class, and noise, both below 128.

    A sample is `pattern + noise`, and many samples share a noise: thousands of 224×224 images need the memory of a few.
    There are at most 256 noises, of at most 32 MiB together, but one at least.
    """

    patterns: UInt8[Tensor, "num_classes *leading rows columns"]
    noises: UInt8[Tensor, "num_noises *leading height width"]

    @classmethod
    def draw(cls, shape: tuple[int, ...], num_classes: int, generator: Generator) -> Pool:
        """Draw patterns and noise for samples of `shape`; its last two sizes are height and width."""
        cells = (*shape[:-2], *(min(GRID, size) for size in shape[-2:]))
        num_noises = min(MAX_NOISES, max(1, MAX_POOL_BYTES // torch.Size(shape).numel()))
        sizes = (num_classes, *cells), (num_noises, *shape)
        return cls(*(torch.randint(128, size, generator=generator, dtype=torch.uint8) for size in sizes))

    def samples(
        self, labels: Int64[Tensor, " sample"], noises: Int64[Tensor, " sample"]
    ) -> UInt8[Tensor, "sample *leading height width"]:
        """Return the samples of the classes `labels` with the noises at `noises`."""
        patterns = self.patterns[labels]
        for axis in (-2, -1):
            size = self.noises.shape[axis]
            cell = torch.arange(size, device=labels.device) * patterns.shape[axis] // size
            patterns = patterns.index_select(axis, cell)
        return patterns.add_(self.noises[noises])

    def to(self, device: torch.device | str) -> Pool:
        """Return a copy on `device`."""
        return Pool(self.patterns.to(device), self.noises.to(device))


class SyntheticBatches(EpochBatches):
    """An epoch of samples, made from the pool batch by batch."""

    def __init__(
        self,
        pool: Pool,
        labels: Int64[Tensor, " sample"],
        noises: Int64[Tensor, " sample"],
        normalise: Normalise,
        batch_size: int,
        device: torch.device | str,
        seed: int | None = None,
    ) -> None:
        super().__init__(len(labels), batch_size, device, seed)
        self.pool = pool
        self.home = self.device
        self.labels, self.noises = labels.to(device), noises.to(device)
        self.normalise = normalise.to(device)

    def read(self, batches: Iterable[Chosen]) -> Iterator[tuple[Tensor, Tensor]]:
        """Make the samples of each batch."""
        for index, _ in batches:
            labels = self.labels[index]
            yield self.normalise(self.pool.samples(labels, self.noises[index])), labels


class Synthetic(Data):
    """Noise around a pattern of each class, drawn from `seed`; it is easy to learn, so its accuracies mean nothing.

    `shape` is (channel, height, width) of an image, or (frame, channel, height, width) of a clip.
    """

    normalisations: ClassVar[tuple[Kind, ...]] = ("own", "none")
    normalise: Normalise

    def __init__(
        self,
        shape: Annotated[list[Annotated[int, Ge(1)]], MinLen(3), MaxLen(4)],
        num_classes: Annotated[int, Ge(2)] = 10,
        num_train: Annotated[int, Ge(1)] = 55_000,
        num_validation: Annotated[int, Ge(1)] = 5_000,
        num_test: Annotated[int, Ge(1)] = 10_000,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__()
        self.input_shape = tuple(shape)
        self.num_classes = num_classes
        self.sizes = {"train": num_train, "validation": num_validation, "test": num_test}
        self.seed = seed
        # Clips are large: a batch has at most as many pixels as 250 images of 3×224×224.
        self.evaluation_batch_size = max(1, min(1000, 250 * 3 * 224 * 224 // torch.Size(shape).numel()))
        counts = ", ".join(f"{num} {part}" for part, num in self.sizes.items())
        self.split = f"synthetic: {counts}; {'×'.join(map(str, shape))}, {num_classes} classes, seed {seed}"
        self._pools: dict[torch.device, Pool] = {}

    def setup(self, stage: str | None = None) -> None:
        """Draw the pool, and the class and the noise of every sample."""
        if self._pools:
            return
        generator = torch.Generator().manual_seed(self.seed)
        pool = Pool.draw(self.input_shape, self.num_classes, generator)
        limits = self.num_classes, len(pool.noises)
        self._drawn = {
            part: [torch.randint(limit, (num,), generator=generator) for limit in limits]
            for part, num in self.sizes.items()
        }
        tensors = (pool.patterns, pool.noises, *chain.from_iterable(self._drawn.values()))
        self.fingerprint = digest_bytes([self.split.encode(), *(tensor.numpy().data for tensor in tensors)])
        own = Normalise(255.0, *(torch.full((1, 1, 1), moment) for moment in (MEAN, DEVIATION)))
        self.normalise = self.normalisation.fixed(255.0, self.num_channels) or own
        self._pools[torch.device("cpu")] = pool

    def train_batches(self, batch_size: int, seed: int, device: torch.device | str = "cpu") -> SyntheticBatches:
        """Return the training part, shuffled anew in every epoch."""
        return self._batches("train", batch_size, device, seed)

    def validation_batches(self, device: torch.device | str = "cpu") -> SyntheticBatches:
        """Return the validation part, in order."""
        return self._batches("validation", self.evaluation_batch_size, device)

    def test_batches(self, device: torch.device | str = "cpu") -> SyntheticBatches:
        """Return the test part, in order."""
        return self._batches("test", self.evaluation_batch_size, device)

    def _batches(
        self, part: str, batch_size: int, device: torch.device | str, seed: int | None = None
    ) -> SyntheticBatches:
        place = torch.device(device)
        if place not in self._pools:
            self._pools[place] = self._pools[torch.device("cpu")].to(place)
        labels, noises = self._drawn[part]
        return SyntheticBatches(self._pools[place], labels, noises, self.normalise, batch_size, place, seed)
