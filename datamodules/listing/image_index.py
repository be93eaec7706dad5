"""An index of many images: each is a file of a folder, or a stretch of a tar or zip archive that is never extracted.

It holds arrays, not lists of objects: 1.3 million images take 100 MB, which worker processes share.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped

from datamodules.listing.compressed_tar import read_stretches
from datamodules.listing.places import Entry
from runtime.digest import digest_bytes

MAX_BYTES = 2**30  # of one image, which is read whole


@dataclass(frozen=True)
class ImageIndex:
    """Images below the folder or inside the archive `container`, sorted by label and name.

    `names` are bytes: paths below the folder or the archive's root. An image takes `sizes` bytes from `offsets` on;
    where `packed` is not 0 it lies there deflated, in so many bytes. An archive that `is_packed` is compressed as
    a whole: its images are in `content` once they are `unpacked`.
    """

    container: Path
    is_archive: bool
    names: Shaped[np.ndarray, " image"]
    offsets: Int64[np.ndarray, " image"]
    sizes: Int64[np.ndarray, " image"]
    labels: Int64[np.ndarray, " image"]
    packed: Int64[np.ndarray, " image"]
    is_packed: bool = False
    content: bytes | None = None

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        """Return the bytes of one image; raise `ValueError` if they are fewer than when it was indexed."""
        size, offset, packed = (int(field[index]) for field in (self.sizes, self.offsets, self.packed))
        if max(size, packed) > MAX_BYTES:
            raise ValueError(f"{max(size, packed)} bytes; expected at most {MAX_BYTES} of an image")
        if self.content is not None:
            return self.content[offset : offset + size]
        with open(self.container if self.is_archive else self._path(index), "rb") as file:
            file.seek(offset)
            content = file.read(packed or size)
        if packed:
            # Without a header, as zip archives have it; and no more than the archive says, whatever it unpacks to.
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
        if len(content) < size:
            raise ValueError(f"{len(content)} bytes, and {size} when it was indexed")
        return content

    def place(self, index: int) -> str:
        """Return the place of an image as messages name it."""
        return f"{self.container}: {os.fsdecode(self.names[index])}" if self.is_archive else str(self._path(index))

    def unpacked(self, max_gib: float) -> ImageIndex:
        """Return the same images, read into memory if they lie in an archive that is compressed as a whole."""
        if not self.is_packed:
            return self
        content, offsets = read_stretches(self.container, self.offsets, self.sizes, max_gib)
        return replace(self, content=content, offsets=offsets)

    def take(self, chosen: Shaped[np.ndarray, " chosen"]) -> ImageIndex:
        """Return the images at the places `chosen`, or where the mask `chosen` is true."""
        fields = ("names", "offsets", "sizes", "labels", "packed")
        return replace(self, **{field: getattr(self, field)[chosen] for field in fields})

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
    container: Path,
    is_archive: bool,
    entries: Sequence[Entry],
    labels: Sequence[int] | None = None,
    is_packed: bool = False,
) -> ImageIndex:
    """Make the index of `entries`, whose names are paths below `container`; all labels are 0 unless they are given."""
    names = np.array([os.fsencode(entry.name) for entry in entries], np.bytes_)
    columns = ([entry.offset for entry in entries], [entry.size for entry in entries], [e.packed for e in entries])
    offsets, sizes, packed = (np.array(column, np.int64) for column in columns)
    given = np.zeros(len(entries), np.int64) if labels is None else np.array(labels, np.int64)
    return ImageIndex(container, is_archive, names, offsets, sizes, given, packed, is_packed=is_packed)


def fingerprint(parts: Iterable[ImageIndex], *ways: str) -> str:
    """Return twelve hex digits of the names, sizes in bytes and labels of all images, and of the ways to read them.

    Pixels are not read.
    """
    read = (way.encode() for way in ways)
    return digest_bytes(itertools.chain((piece for part in parts for piece in _pieces(part)), read))


def _pieces(part: ImageIndex) -> Iterator[bytes]:
    yield f"{len(part)}\n".encode()
    yield b"\n".join(part.file_names().tolist())
    yield part.sizes.tobytes()
    yield part.labels.tobytes()
