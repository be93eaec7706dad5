"""Large images, decoded anew in every epoch while a network trains, because no memory would hold them all.

Worker processes decode and cut them (decoders.py, crops.py); the bytes travel to the device and are normalised there,
with the mean and deviation of ImageNet's colours that its published networks were trained with, as in torchvision's
reference recipes (references/classification/presets.py), unless the options say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Le

from datamodules.broken import Broken, check_classes, describe
from datamodules.data import Data, hold_out, num_held_out
from datamodules.image_file import MAX_PIXELS
from datamodules.listing.image_index import ImageIndex, ImageParts, fingerprint
from datamodules.normalisation import Kind
from datamodules.normalise import Normalise
from datamodules.streamed.batches import StreamedBatches
from datamodules.streamed.crops import Crops
from datamodules.streamed.decoders import Decoder, Decoders
from datamodules.streamed.readable import readable
from runtime.cores import num_cores
from runtime.identity import NotIdentity

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SPLIT_SEED = 0
TRAIN, VALIDATION, TEST = range(3)
Checked = Literal["all", "test", "nothing"]


class StreamedImages(Data):
    """A data set of large images. Subclasses find them in `find`.

    A training image is a random window of at least `min_crop_area` of the image, mirrored with probability 1/2 if
    `flip`; a validation or test image is the centre, after the shorter side has become `resize`. All are cut to
    `size × size` pixels. `validation_share` of the training part, drawn at random, becomes the validation part, unless
    the files have one. `subset_classes` keeps the first classes; `subset_per_class` keeps the first images by name of
    each class in each part. `num_workers` processes decode: 0 decodes in this process, None takes one for each core
    that the point may use.

    Before training every image of the parts in `checked` is decoded once: "all", "test" (and validation), or "nothing".
    With `broken` "fail" an unreadable one is refused by name. With "skip", which takes `checked` "all", it is left out,
    which moves no other image to another part, and counted in the written split. Images are turned as their EXIF says
    if `upright`. One of more than `max_pixels` cannot be read.
    """

    evaluation_batch_size = 100
    normalisations: ClassVar[tuple[Kind, ...]] = ("own", "none")
    normalise: Normalise

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
        checked: Checked,
        broken: Broken,
        upright: bool,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__()
        if broken == "skip" and checked != "all":
            raise ValueError(
                f"dataset.checked={checked}: broken images are left out only where all are checked; set "
                "dataset.checked=all, or dataset.broken=fail"
            )
        if resize < size:
            raise ValueError(f"resize={resize}: expected at least size={size}, which is cut from it; raise it")
        self.name = name
        self.crops = Crops(size, resize, min_crop_area, flip, upright, max_pixels)
        self.input_shape = (3, size, size)
        self.validation_share = validation_share
        self.subset_classes = subset_classes
        self.subset_per_class = subset_per_class
        self.num_workers = num_cores() if num_workers is None else num_workers
        self.checked: Checked = checked
        self.broken: Broken = broken
        self._decoders: Decoders | None = None

    def find(self) -> ImageParts:
        """Return where the images lie; raise `ValueError` that names path, files and remedy."""
        raise TypeError(f"{type(self).__name__} must define find()")

    def prepare_data(self) -> None:
        """Find the images, split them and check them; the number of classes is known from now on."""
        found = self._subset(self.find())
        self.num_classes = len(found.classes)
        num_train, num_test = len(found.train), len(found.test)
        self.split = f"{self.name}: "
        if found.validation is None:
            num = num_held_out(str(self.name), num_train, self.validation_share)
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
        self.parts = self._readable(found.classes, parts)

    def setup(self, stage: str | None = None) -> None:
        """Find the images, once; no worker starts before the first batch is requested."""
        if self._decoders is None:
            if not hasattr(self, "parts"):
                self.prepare_data()
            own = Normalise(255.0, *(torch.tensor(moment)[:, None, None] for moment in (MEAN, DEVIATION)))
            self.normalise = self.normalisation.fixed(255.0, self.num_channels) or own
            self.fingerprint = fingerprint(self.parts, *(["upright"] if self.crops.upright else []))
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

    def _readable(self, classes: Sequence[str], parts: Sequence[ImageIndex]) -> tuple[ImageIndex, ...]:
        """Return the parts without broken images, and write down how many there were."""
        names = ("train", "validation", "test")
        checked = {"all": names, "test": names[1:], "nothing": ()}[self.checked]
        kept = {
            name: readable(part, self.num_workers, self.broken, self.crops.max_pixels) if name in checked else part
            for name, part in zip(names, parts, strict=True)
        }
        self.split += describe({name: len(part) - len(kept[name]) for name, part in zip(names, parts, strict=True)})
        check_classes(str(self.name), classes, {name: kept[name].labels for name in ("train", "test")})
        return tuple(kept.values())
