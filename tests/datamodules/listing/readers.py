"""Load a tree with either reader of images, or get the line in which it is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from datamodules.memory.image_files import read_images
from datamodules.memory.image_folder import ImageFolder
from datamodules.streamed.folder import StreamedFolder
from tests.datamodules.refusals import refusal


def in_memory(root: Path, **options) -> ImageFolder:
    read_images.cache_clear()
    data = ImageFolder(str(root), "mine", **{"validation_share": 0.2} | options)
    data.setup()
    return data


def streamed(root: Path, **options) -> StreamedFolder:
    options = {"size": 6, "resize": 6, "num_workers": 0, "validation_share": 0.2} | options
    data = StreamedFolder(str(root), "mine", **options)
    data.setup()
    return data


def refused(load, root: Path, **options) -> str:
    return refusal(partial(load, root, **options))
