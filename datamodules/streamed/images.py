"""Large images, decoded anew in every epoch, while a network trains, because no memory would hold them all.

Processes decode and cut (decoders.py, crops.py); bytes travel to the device, and are normalised
there with the mean and deviation of ImageNet's colours that its published networks were trained with, as in
torchvision's reference recipes (references/classification/presets.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from datamodules.data import Data, epoch_generator, hold_out, share_of
from datamodules.normalise import Normalise
from datamodules.streamed.crops import Crops
from datamodules.streamed.decoders import Decoder, Decoders, Request
from datamodules.streamed.image_index import Found, fingerprint

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SPLIT_SEED = 0
TRAIN, VALIDATION, TEST = range(3)


class StreamedBatches:
    """An epoch of normalised batches of one part on `device`; shuffled, with random windows, if a `seed` is given."""

    def __init__(
        self,
        decoders: Decoders,
        part: int,
        batch_size: int,
        normalise: Normalise,
        device: torch.device | str = "cpu",
        seed: int | None = None,
    ) -> None:
        self.decoders = decoders
        self.part = part
        self.labels = torch.from_numpy(decoders.decoder.parts[part].labels)
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.normalise = normalise.to(self.device)
        self.seed = seed
        self.epoch = 0
        self.share = slice(None)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order, drawn = torch.arange(len(self.labels)), None
        if self.seed is not None:
            generator = epoch_generator(self.seed, self.epoch)
            order, drawn = torch.randperm(len(order), generator=generator), (self.seed, self.epoch)
        chosen = [share_of(places, self.share, drawn is not None) for places in order.split(self.batch_size)]
        requests = [Request(self.part, indices.numpy(), drawn) for indices in chosen]
        pin = self.device.type == "cuda"
        for indices, images in zip(chosen, self.decoders(requests, pin), strict=False):
            yield self._ready(images), self.labels[indices].to(self.device)

    def _ready(self, images: UInt8[Tensor, "batch h w 3"]) -> Float[Tensor, "batch 3 h w"]:
        moved = images.to(self.device, non_blocking=True)  # a fourth of the bytes of normalised images
        return self.normalise(moved.permute(0, 3, 1, 2).contiguous())  # (b, 3, h, w)


class StreamedImages(Data):
    """A data set of large images. Subclasses say where they are in `find`.

    Training images are random windows of at least `min_crop_area` of the area, mirrored with probability 1/2 if `flip`;
    validation and test images the centres, after the shorter side has become `resize`: `size × size` pixels all. Of the
    training part `validation_share`, drawn at random, is for validation, unless the files have such a part.
    `subset_classes` and `subset_per_class` take the first classes, and the first images by name of each class in each
    part. `num_workers` processes decode: 0 leaves it to this process, None takes one for each core.
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
        num_workers: int | None,
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

    def find(self) -> Found:
        """Return where the images are; raises `ValueError` that names path, files and remedy."""
        raise TypeError(f"{type(self).__name__} must define find()")

    def prepare_data(self) -> None:
        """Find the images and split them: the number of classes is known from now on."""
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
        """Find the images, once; no worker starts before the first batch is asked for."""
        if self._decoders is None:
            if not hasattr(self, "parts"):
                self.prepare_data()
            self.fingerprint = fingerprint(self.parts)
            self._decoders = Decoders(Decoder(self.parts, self.crops), self.num_workers)

    def train_batches(self, batch_size: int, seed: int, device: torch.device | str = "cpu") -> StreamedBatches:
        """Shuffled batches of random windows of the training part."""
        return self._batches(TRAIN, batch_size, device, seed)

    def validation_batches(self, device: torch.device | str = "cpu") -> StreamedBatches:
        """The centres of the validation part, in order: whatever is selected is selected on it."""
        return self._batches(VALIDATION, self.evaluation_batch_size, device)

    def test_batches(self, device: torch.device | str = "cpu") -> StreamedBatches:
        """The centres of the test part, in order: read once, at the end."""
        return self._batches(TEST, self.evaluation_batch_size, device)

    def _batches(
        self, part: int, batch_size: int, device: torch.device | str, seed: int | None = None
    ) -> StreamedBatches:
        assert self._decoders is not None, "setup() comes first"
        return StreamedBatches(self._decoders, part, batch_size, self.normalise, device, seed)

    def _subset(self, found: Found) -> Found:
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
    """The cores that this process may use: its part of them where several of a machine train together."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))  # torchrun says how many there are
