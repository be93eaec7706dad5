"""A tree of small real image files, plain or packed, and what reading it gives or says."""

from __future__ import annotations

import tarfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.memory.image_folder import ImageFolder
from tests.datamodules.refusals import refusal

CLASSES = ("ant", "bee", "cow")
SIZE = (7, 6)  # width, height


def picture(seed: int, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def write_pictures(root: Path) -> Path:
    """Three classes with 10 training and 4 test images each, JPEG and PNG."""
    for part, num in (("train", 10), ("test", 4)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for index in range(num):
                ending = "png" if index % 2 else "jpg"
                picture(1000 * label + index + 100 * num).save(root / part / name / f"{index:04}.{ending}")
    return root


def pack(root: Path, ending: str) -> Path:
    path = root.with_name(f"packed{ending}")
    kind = {".tar.xz": "w:xz", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar": "w"}[ending]
    with tarfile.open(path, kind) as archive:
        for part in ("train", "test"):
            archive.add(root / part, f"./{part}" if ending == ".tar.gz" else part)
    return path


def loaded(root: Path, **options) -> ImageFolder:
    data = ImageFolder(str(root), options.pop("name", "pictures"), **options)
    data.setup()
    return data


refused = partial(refusal, loaded)
