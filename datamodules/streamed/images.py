"""Large images, decoded anew in every epoch while a network trains, because no memory would hold them all.

Worker processes decode and cut them (decoders.py, crops.py); the bytes travel to the device and are normalised there,
with the mean and deviation of ImageNet's colours that its published networks were trained with, as in torchvision's
reference recipes (references/classification/presets.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Float, UInt8
from torch import Tensor

from datamodules.batches import Chosen, EpochBatches
from datamodules.data import Data, hold_out
from datamodules.normalise import Normalise
from datamodules.streamed.crops import Crops
from datamodules.streamed.decoders import Decoder, Decoders, Request
from datamodules.streamed.image_index import ImageParts, fingerprint
from runtime.identity import NotIdentity

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SPLIT_SEED = 0
TRAIN, VALIDATION, TEST = range(3)


class StreamedBatches(EpochBatches):
    """An epoch of one part: random windows of its images if a `seed` is given, else their centres; normalised."""

    def __init__(
        self,
        decoders: Decoders,
        part: int,
        batch_size: int,
        normalise: Normalise,
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> None:
        self.labels = torch.from_numpy(decoders.decoder.parts[part].labels)
        super().__init__(len(self.labels), batch_size, device, seed)
        self.decoders = decoders
        self.part = part
        self.normalise = normalise.to(self.device)

    def read(self, batches: Iterable[Chosen]) -> Iterator[tuple[Tensor, Tensor]]:
        """Request all batches at once, and yield them in order."""
        indices = [index for index, _ in batches]
        drawn = None if self.seed is None else (self.seed, self.epoch)
        requests = [Request(self.part, index.numpy(), drawn) for index in indices]
        pin = self.device.type == "cuda"
        for index, images in zip(indices, self.decoders(requests, pin), strict=False):
            yield self._ready(images), self.labels[index].to(self.device)

    def _ready(self, images: UInt8[Tensor, "batch h w 3"]) -> Float[Tensor, "batch 3 h w"]:
        moved = images.to(self.device, non_blocking=True)  # a fourth of the bytes of normalised images
        return self.normalise(moved.permute(0, 3, 1, 2).contiguous())  # (b, 3, h, w)


class StreamedImages(Data):
    """A data set of large images. Subclasses find them in `find`.

    A training image is a random window of at least `min_crop_area` of the image, mirrored with probability 1/2 if
    `flip`; a validation or test image is the centre, after the shorter side has become `resize`. All are cut to
    `size × size` pixels. `validation_share` of the training part, drawn at random, becomes the validation part, unless
    the files have one. `subset_classes` keeps the first classes; `subset_per_class` keeps the first images by name of
    each class in each part. `num_workers` processes decode: 0 decodes in this process, None takes one for each core.
    """

    evaluation_batch_size = 100

    def __init__(
        self,
        name: str,
        size: int,
        resize: int,
        min_crop_area: float,
        flip: bool,
        validation_share: float | None,
        subset_classes: int | None,
        subset_per_class: int | None,
        num_workers: Annotated[Annotated[int, Ge(0), Le(1024)] | None, NotIdentity()],
    ) -> None:
        super().__init__()
        if resize < size:
            raise ValueError(f"resize={resize}: expected at least size={size}, which is cut from it; raise it")
        self.name = name
        self.crops = Crops(size, resize, min_crop_area, flip)
        self.input_shape = (3, size, size)
        self.validation_share = validation_share
        self.subset_classes = subset_classes
        self.subset_per_class = subset_per_class
        self.num_workers = num_cores() if num_workers is None else num_workers
        self.normalise = Normalise(255.0, *(torch.tensor(moment)[:, None, None] for moment in (MEAN, DEVIATION)))
        self._decoders: Decoders | None = None

    def find(self) -> ImageParts:
        """Return where the images lie; raise `ValueError` that names path, files and remedy."""
        raise TypeError(f"{type(self).__name__} must define find()")

    def prepare_data(self) -> None:
        """Find the images and split them; the number of classes is known from now on."""
        found = self._subset(self.find())
        self.num_classes = len(found.classes)
        num_train, num_test = len(found.train), len(found.test)
        self.split = f"{self.name}: "
        if found.validation is None:
            num = self._num_validation(num_train)
            kept, held_out = hold_out(num_train, num, SPLIT_SEED)
            parts = (found.train.take(kept.numpy()), found.train.take(held_out.numpy()), found.test)
            self.split += f"{num_train} train less {num} validation (random, seed {SPLIT_SEED}), {num_test} test"
        else:
            parts = (found.train, found.validation, found.test)
            self.split += f"{num_train} train, {len(found.validation)} validation, {num_test} test"
        if self.subset_classes is not None:
            self.split += f"; the first {self.subset_classes} classes"
        if self.subset_per_class is not None:
            self.split += f"; at most {self.subset_per_class} of each class in each, the first by name"
        size, resize = self.crops.size, self.crops.resize
        self.split += f"; evaluated on the centre {size}×{size} of the shorter side resized to {resize}"
        self.parts = parts

    def setup(self, stage: str | None = None) -> None:
        """Find the images, once; no worker starts before the first batch is requested."""
        if self._decoders is None:
            if not hasattr(self, "parts"):
                self.prepare_data()
            self.fingerprint = fingerprint(self.parts)
            self._decoders = Decoders(Decoder(self.parts, self.crops), self.num_workers)

    def train_batches(self, batch_size: int, seed: int, device: torch.device | str = "cpu") -> StreamedBatches:
        """Return random windows of the training part, shuffled and drawn anew in every epoch."""
        return self._batches(TRAIN, batch_size, device, seed)

    def validation_batches(self, device: torch.device | str = "cpu") -> StreamedBatches:
        """Return the centres of the validation part, in order: every selection is made on it."""
        return self._batches(VALIDATION, self.evaluation_batch_size, device)

    def test_batches(self, device: torch.device | str = "cpu") -> StreamedBatches:
        """Return the centres of the test part, in order: it is read once, at the end."""
        return self._batches(TEST, self.evaluation_batch_size, device)

    def _batches(
        self, part: int, batch_size: int, device: torch.device | str, seed: int | None = None
    ) -> StreamedBatches:
        assert self._decoders is not None, "setup() comes first"
        return StreamedBatches(self._decoders, part, batch_size, self.normalise, device, seed)

    def _subset(self, found: ImageParts) -> ImageParts:
        num = self.subset_classes
        if num is not None and num > len(found.classes):
            raise ValueError(
                f"{self.name}: subset_classes={num} of {len(found.classes)} classes; lower dataset.subset_classes, or "
                "take all with null"
            )
        train, test, validation = (
            None if part is None else part.subset(num, self.subset_per_class)
            for part in (found.train, found.test, found.validation)
        )
        assert train is not None and test is not None
        return replace(found, classes=found.classes[:num], train=train, test=test, validation=validation)

    def _num_validation(self, num_train: int) -> int:
        if self.validation_share is None:
            raise ValueError(
                f"{self.name}: there is no validation part; take one from the training part with "
                "dataset.validation_share=0.1"
            )
        num = round(num_train * self.validation_share)
        if not 0 < num < num_train:
            raise ValueError(
                f"{self.name}: validation_share={self.validation_share:g} of {num_train} training images are {num}; "
                "expected at least one on both sides: change dataset.validation_share"
            )
        return num


def num_cores() -> int:
    """Count the cores that this process may use; processes that train together on a machine share its cores evenly."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))  # torchrun says how many there are
