"""CIFAR-10 from its official files for Python [Kri09], in torchvision's layout, or straight from their archive.

The files are pickles. They are read without running what a pickle may ask for: only arrays, lists, strings and numbers.

[Kri09] Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge

from datamodules.augment import Augmentation
from datamodules.data import hold_out
from datamodules.in_memory import Images, InMemoryData

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
# As torchvision checks them.
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
NUM_VALIDATION, SPLIT_SEED = 5_000, 0


class CIFAR10(InMemoryData):
    """45,000 images for training, 5,000 of the official training part for validation, the 10,000 official test images.

    `root` holds the folder `cifar-10-batches-py` or `cifar-10-python.tar.gz`; nothing is fetched unless `download` is
    true. Training images are cropped after padding by `crop_padding` zeros, and flipped.
    """

    input_shape = (3, 32, 32)
    num_classes = 10
    scale = 255.0
    split = f"official CIFAR-10: 50000 train less {NUM_VALIDATION} validation (random, seed {SPLIT_SEED}), 10000 test"
    per_channel = True
    md5: dict[str, str] | None = MD5

    def __init__(
        self, root: str, download: bool = False, crop_padding: Annotated[int, Ge(0)] = 4, flip: bool = True
    ) -> None:
        super().__init__()
        self.root = Path(root).expanduser()
        self.download = download
        self.augmentation = Augmentation(crop_padding, flip)

    def prepare_data(self) -> None:
        """Check that the files or their archive are there; download them first if that was asked for."""
        folder = self.root / FOLDER
        missing = [name for name in (*TRAIN, TEST) if not (folder / name).is_file()]
        if not missing or (self.root / ARCHIVE).is_file():
            return
        if not self.download:
            raise ValueError(
                f"CIFAR-10: {folder.absolute()} lacks {', '.join(missing)}, and there is no {ARCHIVE} beside it; set "
                f"dataset.root or the environment variable DATA_ROOT to the folder that holds {FOLDER} or the archive, "
                "or add dataset.download=true"
            )
        from torchvision.datasets import CIFAR10 as Torchvision

        try:
            Torchvision(str(self.root), download=True)
        except (RuntimeError, OSError) as error:
            raise ValueError(f"CIFAR-10: the download to {folder} failed: {str(error).splitlines()[0]}") from None

    def load(self) -> tuple[Images, Images, Images]:
        """Read the six files and split the training part."""
        self.prepare_data()
        files = _files(self.root)
        parts = {name: self._read(files, name) for name in (*TRAIN, TEST)}
        images, labels = (torch.cat([getattr(parts[name], key) for name in TRAIN]) for key in ("images", "labels"))
        train = Images(images, labels)
        if len(train) <= NUM_VALIDATION:
            raise ValueError(
                f"CIFAR-10: {self.root} holds {len(train)} training images; expected over {NUM_VALIDATION}"
            )
        kept, held_out = hold_out(len(train), NUM_VALIDATION, SPLIT_SEED)
        return train.take(kept), train.take(held_out), parts[TEST]

    def _read(self, files: Callable[[str], bytes], name: str) -> Images:
        content, place = files(name), f"{self.root / FOLDER / name}"
        if self.md5 is not None and (found := hashlib.md5(content).hexdigest()) != self.md5[name]:
            raise ValueError(
                f"{place}: md5 sum {found}, expected {self.md5[name]}: truncated, damaged or not the official file; "
                "fetch it again, or give other data a name of their own with dataset=image_folder"
            )
        return read_batch(content, place)


def _files(root: Path) -> Callable[[str], bytes]:
    """A function from the name of a file to its bytes: from the folder if it is whole, else from the archive."""
    names = (*TRAIN, TEST)
    if all((root / FOLDER / name).is_file() for name in names):
        return lambda name: (root / FOLDER / name).read_bytes()
    path, contents = root / ARCHIVE, dict[str, bytes]()
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if Path(member.name).parent.name == FOLDER and (file := archive.extractfile(member)):
                    contents[Path(member.name).name] = file.read()
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); fetch the file again") from None
    if missing := [name for name in names if name not in contents]:
        raise ValueError(f"{path}: lacks {', '.join(f'{FOLDER}/{name}' for name in missing)}; fetch the file again")
    return contents.__getitem__


def read_batch(content: bytes, place: str) -> Images:
    """Read one pickled batch: `data`, (n, 3072) bytes with red, green and blue one after another, and `labels`.

    Raises `ValueError` naming `place` if it is damaged or asks for anything but arrays, lists, strings and numbers.
    """
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{place}: cannot be read ({reason}); fetch the file again") from None
    fields: dict[Any, Any] = batch if isinstance(batch, dict) else {}
    data: Any
    labels: Any
    data, labels = (fields.get(key.encode(), fields.get(key)) for key in ("data", "labels"))
    good = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == 3072
    good = good and isinstance(labels, list) and len(labels) == len(data) > 0
    if not good or not all(isinstance(label, int) and 0 <= label < 10 for label in labels):
        raise ValueError(
            f"{place}: expected a dictionary with 'data', uint8 of shape (n, 3072), and 'labels', n integers from 0 to "
            "9; fetch the file again"
        )
    return Images(torch.from_numpy(data.reshape(-1, 3, 32, 32).copy()), torch.tensor(labels, dtype=torch.int64))


class _Unpickler(pickle.Unpickler):
    """Knows the names that an array of numbers needs, under the modules that old and new NumPy give them; no others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return lambda _, shape, kind: np.ndarray(shape, kind)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in the old protocol
            return lambda text, _: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")
