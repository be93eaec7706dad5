"""Small images as tensors in memory, cut into batches there: no worker processes, no Python work per sample.

Images stay uint8 and are normalised batch by batch; the order of an epoch depends on (seed, epoch) alone, so that a
run repeats exactly.
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
    """An epoch of normalised batches, `(images / scale − mean, labels)`; shuffled if a `seed` is given.

    `mean` is the mean image of the training part, `(channel, height, width)`. `epoch` chooses the order.
    """

    def __init__(
        self, data: Images, batch_size: int, scale: float, mean: Float[Tensor, "channel height width"], seed: int | None
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.scale = scale
        self.mean = mean
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        num = len(self.data)
        order = torch.arange(num)
        if self.seed is not None:
            # One generator per epoch: its state never depends on what ran before.
            order = torch.randperm(num, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch))
        for index in order.split(self.batch_size):
            images = self.data.images[index].to(torch.float32).div_(self.scale).sub_(self.mean)
            yield images, self.data.labels[index]


class InMemoryData(LightningDataModule):
    """A data set whose parts fit in memory. Subclasses say where they come from in `load`.

    `split` is the written split, as it stands in every result. `fingerprint` is known after `setup`: it tells other
    files under the same name apart. A subclass that states `official` refuses them.
    """

    input_shape: tuple[int, int, int]
    num_classes: int
    scale: float  # the largest pixel value
    split: str
    official: str | None = None

    fingerprint: str
    train: Images
    validation: Images
    test: Images
    mean: Tensor

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
            self.mean = self.train.images.float().mean(dim=0) / self.scale  # (channel, height, width)

    def train_batches(self, batch_size: int, seed: int) -> Batches:
        """Shuffled batches of the training part."""
        return Batches(self.train, batch_size, self.scale, self.mean, seed)

    def validation_batches(self, batch_size: int = 1000) -> Batches:
        """The validation part, in order: whatever is selected is selected on it."""
        return Batches(self.validation, batch_size, self.scale, self.mean, None)

    def test_batches(self, batch_size: int = 1000) -> Batches:
        """The test part, in order: read once, at the end."""
        return Batches(self.test, batch_size, self.scale, self.mean, None)


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
