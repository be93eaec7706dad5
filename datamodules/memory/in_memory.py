"""Small images as tensors in memory, cut into batches there: no worker processes, no Python work per sample.

Images stay uint8, on the device that computes if they fit there, and are augmented (augment.py) and normalised batch
by batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int64, UInt8
from torch import Generator, Tensor

from datamodules.batches import Chosen, EpochBatches, to_device
from datamodules.data import Data
from datamodules.memory.augment import Augmentation
from datamodules.memory.channel_moments import channel_moments
from datamodules.normalisation import Kind
from datamodules.normalise import Normalise
from runtime.digest import digest_bytes

# The images may take this share of a GPU's free memory; the rest is for the network.
SHARE_OF_DEVICE = 0.25


@dataclass(frozen=True)
class Images:
    """Images and labels of one part of a split."""

    images: UInt8[Tensor, "sample channel height width"]
    labels: Int64[Tensor, " sample"]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Int64[Tensor, " chosen"]) -> Images:
        """Return the samples at `index`."""
        return Images(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> Images:
        """Move the images to `device` if that leaves room for a network; else return them where they are."""
        if device.type == "cuda" and self.images.nbytes > SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]:
            return self
        return Images(self.images.to(device), self.labels.to(device))


class ImageBatches(EpochBatches):
    """An epoch of images, normalised; augmented by `augmentation` if a `seed` is given."""

    def __init__(
        self,
        data: Images,
        batch_size: int,
        normalise: Normalise,
        device: torch.device | str = "cpu",
        seed: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(len(data), batch_size, device, seed)
        self.data = data
        self.home = data.images.device
        self.normalise = normalise.to(self.device)
        self.augmentation = augmentation

    def draw_augmentation(self, generator: Generator) -> Int64[Tensor, "sample draw"] | None:
        """Draw what `augmentation` does to each image."""
        if not self.augmentation:
            return None
        height, width = self.data.images.shape[2:]
        return self.augmentation.draw(len(self.data), (height, width), generator)

    def read(self, batches: Iterable[Chosen]) -> Iterator[tuple[Tensor, Tensor]]:
        """Take, augment and normalise the images of each batch."""
        for index, draws in batches:
            batch = self.data.take(index)
            images, labels = to_device(batch.images, self.device), to_device(batch.labels, self.device)
            if self.augmentation and draws is not None:
                values = self.normalise(self.augmentation(images, draws))
                yield self.augmentation.cut_out(values, draws), labels
            else:
                yield self.normalise(images), labels


class InMemoryData(Data):
    """A data set of small images. Subclasses read them in `load`.

    A subclass that sets `official` refuses files with another fingerprint. Batches are normalised by the mean image of
    the training part; where `per_channel` is true, by the mean and the deviation of each channel; or as the options
    say. `augmentation` acts on training batches alone.
    """

    input_shape: tuple[int, int, int]
    scale: float  # the largest pixel value
    official: str | None = None
    per_channel: bool = False
    augmentation: Augmentation | None = None
    normalisations: ClassVar[tuple[Kind, ...]] = ("own", "none", "channels", "mean_image")

    train: Images
    validation: Images
    test: Images
    normalise: Normalise

    def __init__(self) -> None:  # no parameters: a subclass names its own options
        super().__init__()
        self._placed: dict[tuple[int, torch.device], Images] = {}

    def load(self) -> tuple[Images, Images, Images]:
        """Return the training, validation and test part; raise `ValueError` that names path, files and remedy."""
        raise TypeError(f"{type(self).__name__} must define load()")

    def setup(self, stage: str | None = None) -> None:
        """Load all parts, once; raise `ValueError` for an empty part and for data other than the official."""
        if not hasattr(self, "train"):
            parts = self.load()
            for name, part in zip(("training", "validation", "test"), parts, strict=True):
                if not len(part):
                    raise ValueError(f"{type(self).__name__}: the {name} part is empty")
            if self.augmentation:
                self.augmentation.fit(*parts[0].images.shape[2:])
            self.fingerprint = _fingerprint(parts)
            if self.official not in (None, self.fingerprint):
                raise ValueError(
                    f"{type(self).__name__}: fingerprint {self.fingerprint}, expected {self.official}: the files are "
                    "not the official ones (or torch now draws the split differently); fetch them again, or give other "
                    "data a name of their own: a module in datamodules/ and a file in conf/dataset/"
                )
            self.train, self.validation, self.test = parts
            self.normalise = self._normalise()

    def train_batches(self, batch_size: int, seed: int, device: torch.device | str = "cpu") -> ImageBatches:
        """Return the training part, shuffled and augmented anew in every epoch."""
        part = self._on(self.train, device)
        return ImageBatches(part, batch_size, self.normalise, device, seed, self.augmentation)

    def validation_batches(self, device: torch.device | str = "cpu") -> ImageBatches:
        """Return the validation part, in order: every selection is made on it."""
        return ImageBatches(self._on(self.validation, device), self.evaluation_batch_size, self.normalise, device)

    def test_batches(self, device: torch.device | str = "cpu") -> ImageBatches:
        """Return the test part, in order: it is read once, at the end."""
        return ImageBatches(self._on(self.test, device), self.evaluation_batch_size, self.normalise, device)

    def _normalise(self) -> Normalise:
        options, images = self.normalisation, self.train.images
        if (fixed := options.fixed(self.scale, images.shape[1])) is not None:
            return fixed
        if options.normalisation == "channels" or (options.normalisation == "own" and self.per_channel):
            return Normalise(self.scale, *channel_moments(images, self.scale))
        return Normalise(self.scale, images.float().mean(dim=0) / self.scale)

    def _on(self, part: Images, device: torch.device | str) -> Images:
        """Return `part` on a device, copied there once."""
        key = (id(part), torch.device(device))
        if key not in self._placed:
            self._placed[key] = part.to(key[1])
        return self._placed[key]


def _fingerprint(parts: Iterable[Images]) -> str:
    """Return twelve hex digits of all shapes, pixels and labels."""
    tensors = (tensor for part in parts for tensor in (part.images, part.labels))
    return digest_bytes(piece for t in tensors for piece in (f"{tuple(t.shape)}".encode(), t.contiguous().numpy().data))
