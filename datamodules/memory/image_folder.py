"""Your own small images, one folder a class: `train/<class>/*` and `test/<class>/*`, in a folder, a .tar or a .zip.

They are decoded once, into bytes in memory, by datamodules/memory/image_files.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt, MinLen
from torch import Tensor

from datamodules.broken import Broken, describe
from datamodules.data import hold_out, num_held_out
from datamodules.image_file import MAX_PIXELS, MaxPixels
from datamodules.listing.compressed_tar import MAX_UNPACKED_GIB
from datamodules.listing.image_parts import LAYOUT
from datamodules.listing.places import find_root
from datamodules.memory.augment import Augmentation
from datamodules.memory.image_files import DecodedPart, read_images
from datamodules.memory.in_memory import Images, InMemoryData
from runtime.identity import AsBefore, NotIdentity

SPLIT_SEED = 0


class ImageFolder(InMemoryData):
    """The images below `root`: a folder, an archive of one, or the archive's name without its ending.

    `name` is what the written split calls the data. All images must have one size, unless `size` is given: then they
    are resized to `size × size`. `validation_share` of the training part, drawn at random, is for validation; it must
    be None if there is a validation part, `val/` beside `test/`. `subset_per_class` keeps the first images by name of
    each class in each part. `crop_padding`, `flip` and `cutout` change the training images:
    datamodules/memory/augment.py. With `broken` "fail" an unreadable image is refused by name; with "skip" it is left
    out, which moves no other image to another part, and counted in the written split. One of more than `max_pixels`
    cannot be read. A compressed .tar may unpack to `max_unpacked_gib`.
    """

    scale = 255.0
    per_channel = True

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        name: Annotated[str, MinLen(1)],
        channels: Literal[1, 3] = 3,
        size: Annotated[int, Ge(1)] | None = None,
        validation_share: Annotated[float, Gt(0), Lt(1)] | None = 0.1,
        subset_per_class: Annotated[int, Ge(1)] | None = None,
        crop_padding: Annotated[int, Ge(0)] = 0,
        flip: bool = False,
        cutout: Annotated[int, Ge(0)] = 0,
        broken: Annotated[Broken, AsBefore("fail")] = "fail",
        max_pixels: MaxPixels = MAX_PIXELS,
        max_unpacked_gib: Annotated[float, Gt(0), NotIdentity()] = MAX_UNPACKED_GIB,
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser()
        self.name = name
        self.channels = channels
        self.size = size
        self.validation_share = validation_share
        self.subset_per_class = subset_per_class
        self.augmentation = Augmentation(crop_padding, flip, cutout)
        self.broken: Broken = broken
        self.max_pixels, self.max_unpacked_gib = max_pixels, max_unpacked_gib

    def prepare_data(self) -> None:
        """Read and decode the images; their shape and classes are known from now on."""
        root = find_root(self.root, LAYOUT)
        stamp, share = root.stat().st_mtime_ns, self.validation_share
        limits = {"max_pixels": self.max_pixels, "max_unpacked_gib": self.max_unpacked_gib}
        found = read_images(
            root, stamp, self.channels, self.size, self.subset_per_class, share is None, self.broken, **limits
        )
        self.num_classes = len(found.classes)
        self.input_shape = (self.channels, *found.train.images.shape[2:])
        num_train, num_test = found.train.num_listed, found.test.num_listed
        if found.validation is None:
            num = num_held_out(str(self.name), num_train, share)
            kept, held_out = hold_out(num_train, num, SPLIT_SEED)
            parts = {"train": _among(found.train, kept), "validation": _among(found.train, held_out)}
            listed = [num_train - num, num, num_test]
            self.split = (
                f"{self.name}: {num_train} train less {num} validation (random, seed {SPLIT_SEED}), {num_test} test"
            )
        else:
            parts = {"train": _among(found.train), "validation": _among(found.validation)}
            listed = [num_train, found.validation.num_listed, num_test]
            self.split = f"{self.name}: {num_train} train, {listed[1]} validation, {num_test} test"
        parts["test"] = _among(found.test)
        if self.subset_per_class is not None:
            self.split += f"; at most {self.subset_per_class} of each class in each, the first by name"
        if self.size is not None:
            self.split += f"; resized to {self.size}×{self.size}"
        self.split += describe({name: num - len(parts[name]) for name, num in zip(parts, listed, strict=True)})
        self._parts = (parts["train"], parts["validation"], parts["test"])

    def load(self) -> tuple[Images, Images, Images]:
        """Return the parts of the decoded images."""
        if not hasattr(self, "_parts"):
            self.prepare_data()
        return self._parts


def _among(part: DecodedPart, listed: Tensor | None = None) -> Images:
    """Return the readable images of a part, or those at the places `listed`."""
    images = Images(torch.from_numpy(part.images), torch.from_numpy(part.labels))
    return images if listed is None else images.take(torch.isin(torch.from_numpy(part.places), listed).nonzero()[:, 0])
