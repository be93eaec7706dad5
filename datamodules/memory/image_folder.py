"""Your own small images, one folder a class: `train/<class>/*` and `test/<class>/*`, in a folder or a tar archive.

They are decoded once, into bytes in memory, by datamodules/memory/image_files.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt, MinLen

from datamodules.data import hold_out
from datamodules.memory.augment import Augmentation
from datamodules.memory.image_files import find_root, read_images
from datamodules.memory.in_memory import Images, InMemoryData
from runtime.identity import NotIdentity

SPLIT_SEED = 0


class ImageFolder(InMemoryData):
    """The images below `root`: a folder, an archive of one, or the archive's name without `.tar.xz` or `.tar.gz`.

    `name` is what the written split calls the data. All images must have one size, unless `size` is given: then they
    are resized to `size × size`. `validation_share` of the training part, drawn at random, is for validation.
    `subset_per_class` keeps the first images by name of each class in each part. `crop_padding`, `flip` and `cutout`
    change the training images: datamodules/memory/augment.py.
    """

    scale = 255.0
    per_channel = True

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        name: Annotated[str, MinLen(1)],
        channels: Literal[1, 3] = 3,
        size: Annotated[int, Ge(1)] | None = None,
        validation_share: Annotated[float, Gt(0), Lt(1)] = 0.1,
        subset_per_class: Annotated[int, Ge(1)] | None = None,
        crop_padding: Annotated[int, Ge(0)] = 0,
        flip: bool = False,
        cutout: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser()
        self.name = name
        self.channels = channels
        self.size = size
        self.validation_share = validation_share
        self.subset_per_class = subset_per_class
        self.augmentation = Augmentation(crop_padding, flip, cutout)

    def prepare_data(self) -> None:
        """Read and decode the images; their shape and classes are known from now on."""
        root = find_root(self.root)
        found = read_images(root, root.stat().st_mtime_ns, self.channels, self.size, self.subset_per_class)
        self.num_classes = len(found.classes)
        self.input_shape = (self.channels, *found.train.shape[2:])
        num_train, num_test = len(found.train_labels), len(found.test_labels)
        self.num_validation = round(num_train * self.validation_share)
        if not 0 < self.num_validation < num_train:
            raise ValueError(
                f"{self.name}: validation_share={self.validation_share:g} of {num_train} training images are "
                f"{self.num_validation}; expected at least one on both sides: change dataset.validation_share"
            )
        drawn = f"{self.num_validation} validation (random, seed {SPLIT_SEED})"
        self.split = f"{self.name}: {num_train} train less {drawn}, {num_test} test"
        if self.subset_per_class is not None:
            self.split += f"; at most {self.subset_per_class} of each class in each, the first by name"
        if self.size is not None:
            self.split += f"; resized to {self.size}×{self.size}"
        self._found = found

    def load(self) -> tuple[Images, Images, Images]:
        """Split the decoded images."""
        self.prepare_data()
        found = self._found
        train = Images(torch.from_numpy(found.train), torch.from_numpy(found.train_labels))
        kept, held_out = hold_out(len(train), self.num_validation, SPLIT_SEED)
        test = Images(torch.from_numpy(found.test), torch.from_numpy(found.test_labels))
        return train.take(kept), train.take(held_out), test
