"""An index of many images: each is a file of a folder, or a stretch of a tar archive that is never extracted.

It holds arrays, not lists of objects: 1.3 million images take 100 MB, which worker processes share.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped

from runtime.digest import digest_bytes


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
        """Return the bytes of one image; raise `ValueError` if the file is shorter than when it was indexed."""
        size = int(self.sizes[index])
        with open(self.container if self.is_archive else self._path(index), "rb") as file:
            file.seek(int(self.offsets[index]))
            content = file.read(size)
        if len(content) < size:
            raise ValueError(f"{len(content)} bytes, and {size} when it was indexed")
        return content

    def place(self, index: int) -> str:
        """Return the place of an image as messages name it."""
        return f"{self.container}: {os.fsdecode(self.names[index])}" if self.is_archive else str(self._path(index))

    def take(self, chosen: Shaped[np.ndarray, " chosen"]) -> ImageIndex:
        """Return the images at the places `chosen`, or where the mask `chosen` is true."""
        arrays = (self.names, self.offsets, self.sizes, self.labels)
        names, offsets, sizes, labels = (array[chosen] for array in arrays)
        return replace(self, names=names, offsets=offsets, sizes=sizes, labels=labels)

    def labelled(self, labels: Int64[np.ndarray, " image"]) -> ImageIndex:
        """Return the same images with other labels, sorted by label and name."""
        index = replace(self, labels=labels)
        return index.take(np.lexsort((index.file_names(), labels)))

    def subset(self, num_classes: int | None, num_per_class: int | None) -> ImageIndex:
        """Keep the first `num_classes` labels, and the first `num_per_class` images by name of each; None keeps all."""
        within = np.arange(len(self)) - np.searchsorted(self.labels, self.labels)  # place among those of its class
        keep = np.ones(len(self), bool)
        if num_classes is not None:
            keep &= self.labels < num_classes
        if num_per_class is not None:
            keep &= within < num_per_class
        return self.take(keep)

    def file_names(self) -> Shaped[np.ndarray, " image"]:
        """Return the names without folders: the same for an archive and for the folder extracted from it."""
        return np.array([name.rpartition(b"/")[2] for name in self.names.tolist()], np.bytes_)

    def _path(self, index: int) -> Path:
        return self.container / os.fsdecode(self.names[index])


@dataclass(frozen=True)
class ImageParts:
    """The indexed parts of a data set and its sorted classes; a label is a place in `classes`.

    `validation` is None if the files have no such part: then it is split off the training part.
    """

    classes: tuple[str, ...]
    train: ImageIndex
    test: ImageIndex
    validation: ImageIndex | None = None


def index_of(
    container: Path, is_archive: bool, entries: Sequence[tuple[str, int, int]], labels: Sequence[int] | None = None
) -> ImageIndex:
    """Make the index of `entries`, each a name, an offset and a size; all labels are 0 unless `labels` are given."""
    names = np.array([os.fsencode(name) for name, _, _ in entries], np.bytes_)
    offsets, sizes = (np.array([entry[field] for entry in entries], np.int64) for field in (1, 2))
    given = np.zeros(len(entries), np.int64) if labels is None else np.array(labels, np.int64)
    return ImageIndex(container, is_archive, names, offsets, sizes, given)


def fingerprint(parts: Iterable[ImageIndex]) -> str:
    """Return twelve hex digits of the names, sizes in bytes and labels of all images; their pixels are not read."""
    return digest_bytes(piece for part in parts for piece in _pieces(part))


def _pieces(part: ImageIndex) -> Iterator[bytes]:
    yield f"{len(part)}\n".encode()
    yield b"\n".join(part.file_names().tolist())
    yield part.sizes.tobytes()
    yield part.labels.tobytes()
