"""CIFAR-10 and CIFAR-100 [Kri09] in torchvision's layout; datamodules/memory/cifar_files.py reads the files.

[Kri09] Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from datamodules.data import hold_out
from datamodules.memory.augment import Augmentation
from datamodules.memory.cifar_files import Release
from datamodules.memory.in_memory import Images, InMemoryData
from runtime.identity import NotIdentity
from runtime.messages import first_line

NUM_VALIDATION, SPLIT_SEED = 5_000, 0


class CIFAR(InMemoryData):
    """45,000 images for training, 5,000 of the official training part for validation, the 10,000 official test images.

    `root` holds the folder or the archive of the `release`; nothing is fetched unless `download` is true. Training
    images are cropped after padding by `crop_padding` zeros, mirrored with probability 1/2 if `flip`, and lose a square
    of side `cutout`.
    """

    release: Release
    input_shape = (3, 32, 32)
    scale = 255.0
    per_channel = True

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        download: Annotated[bool, NotIdentity()],
        augmentation: Augmentation,
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser()
        self.download = download
        self.augmentation = augmentation
        self.num_classes = self.release.num_classes
        drawn = f"{NUM_VALIDATION} validation (random, seed {SPLIT_SEED})"
        self.split = f"official {self.release.title}: 50000 train less {drawn}, 10000 test"

    def prepare_data(self) -> None:
        """Check that the files or their archive are there; download them first if `download` is true."""
        release, folder = self.release, self.root / self.release.folder
        if not (missing := release.missing(self.root)):
            return
        if not self.download:
            raise ValueError(
                f"{release.title}: {folder.absolute()} lacks {', '.join(missing)}, and there is no {release.archive} "
                f"beside it; set dataset.root or the environment variable DATA_ROOT to the folder that holds "
                f"{release.folder} or the archive, or add dataset.download=true"
            )
        import torchvision.datasets

        try:
            getattr(torchvision.datasets, release.title.replace("-", ""))(str(self.root), download=True)
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{release.title}: the download to {folder} failed: {first_line(error)}") from None

    def load(self) -> tuple[Images, Images, Images]:
        """Read the files and split the training part."""
        self.prepare_data()
        train, test = self.release.read(self.root)
        if len(train) <= NUM_VALIDATION:
            raise ValueError(
                f"{self.release.title}: {self.root} holds {len(train)} training images; expected over {NUM_VALIDATION}"
            )
        kept, held_out = hold_out(len(train), NUM_VALIDATION, SPLIT_SEED)
        return train.take(kept), train.take(held_out), test


class CIFAR10(CIFAR):
    """Ten classes: `cifar-10-batches-py` or `cifar-10-python.tar.gz`."""

    release = Release(
        title="CIFAR-10",
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test="test_batch",
        md5={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
        key="labels",
        num_classes=10,
    )

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        download: Annotated[bool, NotIdentity()] = False,
        crop_padding: Annotated[int, Ge(0)] = 4,
        flip: bool = True,
        cutout: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__(root, download, Augmentation(crop_padding, flip, cutout))


class CIFAR100(CIFAR):
    """A hundred classes, or their 20 groups if `coarse`: `cifar-100-python` or `cifar-100-python.tar.gz`."""

    release = Release(
        title="CIFAR-100",
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        train=("train",),
        test="test",
        md5={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        key="fine_labels",
        num_classes=100,
    )

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        download: Annotated[bool, NotIdentity()] = False,
        coarse: bool = False,
        crop_padding: Annotated[int, Ge(0)] = 4,
        flip: bool = True,
        cutout: Annotated[int, Ge(0)] = 0,
    ) -> None:
        if coarse:
            self.release = replace(self.release, key="coarse_labels", num_classes=20)
        super().__init__(root, download, Augmentation(crop_padding, flip, cutout))
        self.split += "; 20 coarse classes" if coarse else ""
