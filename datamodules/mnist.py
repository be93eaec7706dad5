"""MNIST from its official files [LBBH98], in torchvision's layout `<root>/MNIST/raw`, plain or gzipped.

[LBBH98] LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition, 1998.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn.functional import pad

from datamodules.data import hold_out
from datamodules.in_memory import Images, InMemoryData
from datamodules.normalise import Normalise

FILES = {part: (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")}
NUM_VALIDATION, SPLIT_SEED = 5_000, 0


class MNIST(InMemoryData):
    """55,000 digits for training, 5,000 of the official training part for validation, the 10,000 official test digits.

    `root` holds `MNIST/raw/*-ubyte[.gz]`; nothing is fetched unless `download` is true. `padding` black pixels are
    added on every side: 2 make the 32×32 = 1024 pixels of [NPOV15].

    [NPOV15] Novikov, Podoprikhin, Osokin & Vetrov, Tensorizing neural networks, NIPS 2015.
    """

    num_classes = 10
    scale = 255.0
    official = "4713448bdac9"

    def __init__(self, root: str, download: bool = False, padding: Annotated[int, Ge(0), Le(100)] = 0) -> None:
        super().__init__()
        size = 28 + 2 * padding
        self.padding = padding
        self.input_shape = (1, size, size)
        self.split = (
            f"official MNIST: 60000 train less {NUM_VALIDATION} validation (random, seed {SPLIT_SEED}), 10000 test"
            + (f"; padded to {size}×{size}" if padding else "")
        )
        self.folder = Path(root).expanduser() / "MNIST" / "raw"
        self.root = root
        self.download = download

    def prepare_data(self) -> None:
        """Check that the four files are there; download them first if that was asked for."""
        names = [name for pair in FILES.values() for name in pair]
        missing = [name for name in names if find_file(self.folder, name) is None]
        if missing and self.download:
            from torchvision.datasets import MNIST as Torchvision

            try:
                Torchvision(self.root, download=True)
            except (RuntimeError, OSError) as error:
                raise ValueError(f"MNIST: the download to {self.folder} failed: {str(error).splitlines()[0]}") from None
        elif missing:
            raise ValueError(
                f"MNIST: {self.folder.absolute()} lacks {', '.join(missing)} (plain or .gz); set dataset.root or the "
                f"environment variable DATA_ROOT to the folder that holds MNIST/raw, or add dataset.download=true"
            )

    def setup(self, stage: str | None = None) -> None:
        """Load all parts, once, and pad them: the fingerprint is that of the files."""
        if hasattr(self, "train"):
            return
        super().setup(stage)
        if self.padding:
            sides = [self.padding] * 4
            self.train, self.validation, self.test = (
                Images(pad(part.images, sides), part.labels) for part in (self.train, self.validation, self.test)
            )
            self.normalise = Normalise(self.scale, pad(self.normalise.mean, sides))

    def load(self) -> tuple[Images, Images, Images]:
        """Read the four files and split the training part."""
        self.prepare_data()
        train, test = (self._read(part) for part in FILES)
        kept, held_out = hold_out(len(train), NUM_VALIDATION, SPLIT_SEED)
        return train.take(kept), train.take(held_out), test

    def _read(self, part: str) -> Images:
        image_file, label_file = (find_file(self.folder, name) for name in FILES[part])
        assert image_file is not None and label_file is not None
        images, labels = read_idx(image_file), read_idx(label_file)
        fit = images.shape[1:] == (28, 28) and labels.shape == images.shape[:1] and len(labels) > 0
        if not fit or labels.max() >= self.num_classes:
            raise ValueError(
                f"MNIST: {image_file} holds {tuple(images.shape)} and {label_file.name} {tuple(labels.shape)}; "
                "expected (n, 28, 28) and (n,) with labels 0 to 9: fetch the files again"
            )
        if part == "train" and len(labels) <= NUM_VALIDATION:
            raise ValueError(f"MNIST: {image_file} holds {len(labels)} images; expected more than {NUM_VALIDATION}")
        return Images(images[:, None], labels.long())


def find_file(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, or its gzipped form; None if neither is there."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_idx(path: Path) -> Tensor:
    """Read an idx file of unsigned bytes, gzipped or not; raises `ValueError` if it is damaged or of another kind.

    Format: two zero bytes, the type (8: uint8), the number of dimensions, each size as a big-endian int32, the bytes.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read ({error}); fetch the file again") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path}: expected an idx file of unsigned bytes; fetch the file again")
    num_dimensions = data[3]
    header = 4 + 4 * num_dimensions
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(num_dimensions)]
    if len(data) - header != int(np.prod(shape)):
        raise ValueError(
            f"{path}: expected {header + int(np.prod(shape))} bytes for {shape}, got {len(data)}: truncated?"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy())
