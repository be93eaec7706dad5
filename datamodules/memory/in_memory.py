"""Small images as tensors in memory, cut into batches there: no worker processes, no Python work per sample.

Images stay uint8, on the device that computes if they fit there, and are moved (augment.py) and normalised batch by
batch; the order and the moves of an epoch depend on (seed, epoch) alone, so that a run repeats exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from datamodules.data import Data, epoch_generator, share_of
from datamodules.memory.augment import Augmentation
from datamodules.memory.channel_moments import channel_moments
from datamodules.normalise import Normalise

# Of what is free on a GPU the images may take so much; the rest is for the network.
SHARE_OF_DEVICE = 0.25


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

    def to(self, device: torch.device) -> Images:
        """On `device` if that leaves room for a network, else where they are."""
        if device.type == "cuda" and self.images.nbytes > SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]:
            return self
        return Images(self.images.to(device), self.labels.to(device))


class ImageBatches:
    """An epoch of normalised batches on `device`; shuffled if a `seed` is given.

    `epoch` chooses the order and what `augmentation` does, which needs a seed.
    """

    def __init__(
        self,
        data: Images,
        batch_size: int,
        normalise: Normalise,
        device: torch.device | str = "cpu",
        seed: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.normalise = normalise.to(self.device)
        self.seed = seed
        self.augmentation = augmentation
        self.epoch = 0
        self.share = slice(None)

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        num, home = len(self.data), self.data.images.device
        order, moves = torch.arange(num), None
        if self.seed is not None:
            generator = epoch_generator(self.seed, self.epoch)
            order = torch.randperm(num, generator=generator)
            if self.augmentation:
                height, width = self.data.images.shape[2:]
                moves = self.augmentation.draw(num, (height, width), generator).to(self.device)
        for places in torch.arange(num).split(self.batch_size):
            places = share_of(places, self.share, self.seed is not None)
            batch = self.data.take(order[places].to(home))
            images, labels = batch.images.to(self.device), batch.labels.to(self.device)
            if self.augmentation and moves is not None:
                chosen = moves[places.to(self.device)]
                moved = self.normalise(self.augmentation(images, chosen))
                yield self.augmentation.cut_out(moved, chosen), labels
            else:
                yield self.normalise(images), labels


class InMemoryData(Data):
    """A data set of small images. Subclasses say where they come from in `load`.

    A subclass that states `official` refuses files with another fingerprint. The training part's mean image is
    subtracted; where `per_channel` is true, the mean of each channel, and its deviation divides. `augmentation` acts on
    training batches alone.
    """

    input_shape: tuple[int, int, int]
    scale: float  # the largest pixel value
    official: str | None = None
    per_channel: bool = False
    augmentation: Augmentation | None = None

    train: Images
    validation: Images
    test: Images
    normalise: Normalise

    def __init__(self) -> None:  # no options: what a subclass does not name is refused
        super().__init__()
        self._placed: dict[tuple[int, torch.device], Images] = {}

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
            if self.per_channel:
                self.normalise = Normalise(self.scale, *channel_moments(self.train.images, self.scale))
            else:
                self.normalise = Normalise(self.scale, self.train.images.float().mean(dim=0) / self.scale)

    def train_batches(self, batch_size: int, seed: int, device: torch.device | str = "cpu") -> ImageBatches:
        """Shuffled and moved batches of the training part."""
        part = self._on(self.train, device)
        return ImageBatches(part, batch_size, self.normalise, device, seed, self.augmentation)

    def validation_batches(self, device: torch.device | str = "cpu") -> ImageBatches:
        """The validation part, in order: whatever is selected is selected on it."""
        return ImageBatches(self._on(self.validation, device), self.evaluation_batch_size, self.normalise, device)

    def test_batches(self, device: torch.device | str = "cpu") -> ImageBatches:
        """The test part, in order: read once, at the end."""
        return ImageBatches(self._on(self.test, device), self.evaluation_batch_size, self.normalise, device)

    def _on(self, part: Images, device: torch.device | str) -> Images:
        """`part` on a device, copied there once."""
        key = (id(part), torch.device(device))
        if key not in self._placed:
            self._placed[key] = part.to(key[1])
        return self._placed[key]


def _fingerprint(parts: Iterable[Images]) -> str:
    """Twelve hex digits of all pixels and labels."""
    digest = hashlib.sha256()
    for tensor in chain.from_iterable((part.images, part.labels) for part in parts):
        digest.update(f"{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:12]
