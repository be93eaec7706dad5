"""Small images as tensors in memory, cut into batches there: no worker processes, no Python work per sample.

Images stay uint8 and are moved (datamodules/augment.py) and normalised batch by batch; the order and the moves of an
epoch depend on (seed, epoch) alone, so that a run repeats exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Float, Int64, UInt8
from pytorch_lightning import LightningDataModule
from torch import Tensor

from datamodules.augment import Augmentation
from datamodules.channel_moments import channel_moments


@dataclass(frozen=True)
class Images:
    """Images and labels of one part of a split."""

    images: UInt8[Tensor, "sample channel height width"]
    labels: Int64[Tensor, " sample"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Int64[Tensor, " chosen"]) -> Images:
        """The samples at `index`."""
        return Images(self.images[index], self.labels[index])


class Batches:
    """An epoch of normalised batches, `((images / scale − mean) / deviation, labels)`; shuffled if a `seed` is given.

    `mean` is the mean image of the training part, `(channel, height, width)`, or that of its channels, `(channel, 1,
    1)`; `deviation`, of the same kind, may be absent. `epoch` chooses the order and what `augmentation` does, which
    needs a seed.
    """

    def __init__(
        self,
        data: Images,
        batch_size: int,
        scale: float,
        mean: Float[Tensor, "channel height width"],
        seed: int | None,
        deviation: Float[Tensor, "channel height width"] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.scale = scale
        self.mean = mean
        self.seed = seed
        self.deviation = deviation
        self.augmentation = augmentation
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        num = len(self.data)
        order, moves = torch.arange(num), None
        if self.seed is not None:
            # One generator per epoch: its state never depends on what ran before.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(num, generator=generator)
            moves = self.augmentation.draw(num, generator) if self.augmentation else None
        for start in range(0, num, self.batch_size):
            index = order[start : start + self.batch_size]
            images = self.data.images[index]
            if self.augmentation and moves is not None:
                images = self.augmentation(images, moves[start : start + self.batch_size])
            images = images.to(torch.float32).div_(self.scale).sub_(self.mean)
            yield images if self.deviation is None else images.div_(self.deviation), self.data.labels[index]


class InMemoryData(LightningDataModule):
    """A data set whose parts fit in memory. Subclasses say where they come from in `load`.

    `split` is the written split, as it stands in every result. `fingerprint` is known after `setup`: it tells other
    files under the same name apart. A subclass that states `official` refuses them. The training part's mean image is
    subtracted; where `per_channel` is true, the mean of each channel, and its deviation divides. `augmentation` acts on
    training batches alone.
    """

    input_shape: tuple[int, int, int]
    num_classes: int
    scale: float  # the largest pixel value
    split: str
    official: str | None = None
    per_channel: bool = False
    augmentation: Augmentation | None = None

    fingerprint: str
    train: Images
    validation: Images
    test: Images
    mean: Tensor
    deviation: Tensor | None

    def __init__(self) -> None:  # no options: what a subclass does not name is refused
        super().__init__()

    def load(self) -> tuple[Images, Images, Images]:
        """Return the training, validation and test part; raises `ValueError` that names path, files and remedy."""
        raise TypeError(f"{type(self).__name__} must define load()")

    def setup(self, stage: str | None = None) -> None:
        """Load all parts, once; raises `ValueError` for an empty part and for other data than the official."""
        if not hasattr(self, "train"):
            parts = self.load()
            for name, part in zip(("training", "validation", "test"), parts, strict=True):
                if not len(part):
                    raise ValueError(f"{type(self).__name__}: the {name} part is empty")
            self.fingerprint = _fingerprint(parts)
            if self.official not in (None, self.fingerprint):
                raise ValueError(
                    f"{type(self).__name__}: fingerprint {self.fingerprint}, expected {self.official}: the files are "
                    "not the official ones (or torch now draws the split differently); fetch them again, or give other "
                    "data a name of their own: a module in datamodules/ and a file in conf/dataset/"
                )
            self.train, self.validation, self.test = parts
            if self.per_channel:
                self.mean, self.deviation = channel_moments(self.train.images, self.scale)
            else:
                self.mean, self.deviation = self.train.images.float().mean(dim=0) / self.scale, None

    def train_batches(self, batch_size: int, seed: int) -> Batches:
        """Shuffled batches of the training part."""
        return self._batches(self.train, batch_size, seed, self.augmentation)

    def validation_batches(self, batch_size: int = 1000) -> Batches:
        """The validation part, in order: whatever is selected is selected on it."""
        return self._batches(self.validation, batch_size)

    def test_batches(self, batch_size: int = 1000) -> Batches:
        """The test part, in order: read once, at the end."""
        return self._batches(self.test, batch_size)

    def _batches(
        self, part: Images, batch_size: int, seed: int | None = None, augmentation: Augmentation | None = None
    ) -> Batches:
        return Batches(part, batch_size, self.scale, self.mean, seed, self.deviation, augmentation)


def _fingerprint(parts: Iterable[Images]) -> str:
    """Twelve hex digits of all pixels and labels."""
    digest = hashlib.sha256()
    for tensor in chain.from_iterable((part.images, part.labels) for part in parts):
        digest.update(f"{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:12]


def hold_out(num: int, num_held_out: int, seed: int) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " held_out"]]:
    """Split `range(num)` at random, the same way for the same seed: the kept and the held-out indices, sorted."""
    order = torch.randperm(num, generator=torch.Generator().manual_seed(seed))
    return order[num_held_out:].sort().values, order[:num_held_out].sort().values
