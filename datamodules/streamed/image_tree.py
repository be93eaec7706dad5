"""Find images in folders, one folder a class, `<folder>/<class>/<image>`, without opening them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from datamodules.streamed.image_index import ImageIndex, index_of

ENDINGS = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")


def list_classes(folder: Path) -> tuple[tuple[str, ...], ImageIndex]:
    """Return the classes below `folder`, sorted, and the index of their images.

    Hidden files are left out. Raises `ValueError` if there are fewer than two classes, if one is empty, and for any
    file that is not named like an image.
    """
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise ValueError(f"{folder}: no folder of images; expected {folder.name}/<class>/<image>: set dataset.root")
    if len(classes) < 2:
        raise ValueError(f"{folder}: one class, {classes[0]}; expected at least two to tell apart")
    loose = (entry for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith("."))
    if stray := [entry.path for entry in loose if entry.name.lower().endswith(ENDINGS)]:
        raise ValueError(f"{min(stray)} is not in a folder of its class; move it or delete it")
    entries: list[tuple[str, int, int]] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted((f"{name}/{file}", 0, size) for file, size in list_images(folder / name))
        if not found:
            raise ValueError(f"{folder / name} holds no image; put some there, or delete the class")
        entries += found
        labels += [label] * len(found)
    return tuple(classes), index_of(folder, False, entries, labels)


def list_images(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the size in bytes of each image in one folder, in no order."""
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            raise ValueError(f"{entry.path}: a folder inside a class; move its images up, or delete it")
        if not entry.name.lower().endswith(ENDINGS):
            raise ValueError(f"{entry.path}: expected an image ({', '.join(ENDINGS)}); move or delete this file")
        yield entry.name, entry.stat().st_size
