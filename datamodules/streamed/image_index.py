"""Where the bytes of many images lie: each a file of a folder, or a stretch of a tar archive that is never extracted.

Arrays, not lists of objects: 1.3 million images cost 100 MB, and worker processes share them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped


@dataclass(frozen=True)
class ImageIndex:
    """Images below the folder or inside the archive `container`, sorted by label and name.

    `names` are bytes: a path below the folder, or `<class>/<file>` or `<file>` for a member of the archive.
    """

    container: Path
    is_archive: bool
    names: Shaped[np.ndarray, " image"]
    offsets: Int64[np.ndarray, " image"]
    sizes: Int64[np.ndarray, " image"]
    labels: Int64[np.ndarray, " image"]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        """The bytes of one image; raises `ValueError` if there are fewer than when it was found."""
        size = int(self.sizes[index])
        with open(self.container if self.is_archive else self._path(index), "rb") as file:
            file.seek(int(self.offsets[index]))
            content = file.read(size)
        if len(content) < size:
            raise ValueError(f"{len(content)} bytes, and {size} when it was found")
        return content

    def place(self, index: int) -> str:
        """What messages call an image."""
        return f"{self.container}: {os.fsdecode(self.names[index])}" if self.is_archive else str(self._path(index))

    def take(self, chosen: Shaped[np.ndarray, " chosen"]) -> ImageIndex:
        """The images at some places, or where a mask is true."""
        arrays = (self.names, self.offsets, self.sizes, self.labels)
        names, offsets, sizes, labels = (array[chosen] for array in arrays)
        return replace(self, names=names, offsets=offsets, sizes=sizes, labels=labels)

    def labelled(self, labels: Int64[np.ndarray, " image"]) -> ImageIndex:
        """The same images with other labels, sorted by them."""
        index = replace(self, labels=labels)
        return index.take(np.lexsort((index.file_names(), labels)))

    def subset(self, num_classes: int | None, num_per_class: int | None) -> ImageIndex:
        """The first `num_classes` labels, and the first `num_per_class` images by name of each; None is all."""
        within = np.arange(len(self)) - np.searchsorted(self.labels, self.labels)  # place among those of its class
        keep = np.ones(len(self), bool)
        if num_classes is not None:
            keep &= self.labels < num_classes
        if num_per_class is not None:
            keep &= within < num_per_class
        return self.take(keep)

    def file_names(self) -> Shaped[np.ndarray, " image"]:
        """The names without folders: the same for an archive and for what was extracted from it."""
        return np.array([name.rpartition(b"/")[2] for name in self.names.tolist()], np.bytes_)

    def _path(self, index: int) -> Path:
        return self.container / os.fsdecode(self.names[index])


@dataclass(frozen=True)
class Found:
    """The parts of a data set and its classes, sorted; a label is a place in `classes`.

    `validation` is None if the files have no such part: then it is taken from the training part.
    """

    classes: tuple[str, ...]
    train: ImageIndex
    test: ImageIndex
    validation: ImageIndex | None = None


def index_of(
    container: Path, is_archive: bool, entries: Sequence[tuple[str, int, int]], labels: Sequence[int] | None = None
) -> ImageIndex:
    """The index of `entries`, each a name, an offset and a size; all labels are 0 unless given."""
    names = np.array([os.fsencode(name) for name, _, _ in entries], np.bytes_)
    offsets, sizes = (np.array([entry[field] for entry in entries], np.int64) for field in (1, 2))
    given = np.zeros(len(entries), np.int64) if labels is None else np.array(labels, np.int64)
    return ImageIndex(container, is_archive, names, offsets, sizes, given)


def fingerprint(parts: Iterable[ImageIndex]) -> str:
    """Twelve hex digits of the names, sizes in bytes and labels of all images; their pixels are not read."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}\n".encode())
        digest.update(b"\n".join(part.file_names().tolist()))
        digest.update(part.sizes.tobytes() + part.labels.tobytes())
    return digest.hexdigest()[:12]
