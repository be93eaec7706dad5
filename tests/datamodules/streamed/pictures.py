"""Folders of small pictures, and how tests load them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datamodules.streamed.folder import StreamedFolder
from tests.datamodules.refusals import refusal

CLASSES = ("ant", "bee", "cow")


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def write_tree(root: Path) -> Path:
    """Three classes with 10 training and 4 test images each, of many sizes."""
    for part, num in (("train", 10), ("test", 4)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for index in range(num):
                seed = 1000 * label + index + 100 * num
                image = picture(seed, (40 + seed % 37, 40 + seed % 23))
                image.save(root / part / name / f"{index:04}.{'png' if index % 2 else 'jpg'}")
    return root


def loaded(root: Path, **options) -> StreamedFolder:
    options = {"name": "pictures", "size": 24, "resize": 28, "num_workers": 0} | options
    data = StreamedFolder(str(root), **options)
    data.setup()
    return data


refused = partial(refusal, loaded)


def epoch(batches, number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    batches.epoch = number
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return images, labels
