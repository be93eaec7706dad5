"""Read a tar archive that is compressed as a whole, without holding more of it than what is asked for.

A few kilobytes can unpack to any size [Fif19], so what is unpacked is counted. The archive is gone through twice: once
for its headers, once for the files that are images of a part.

[Fif19] Fifield, A better zip bomb, WOOT 2019.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Int64

OPENERS: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": gzip.open,  # type: ignore[dict-item]
    b"\xfd7zXZ\0": lzma.open,  # type: ignore[dict-item]
    b"BZh": bz2.open,  # type: ignore[dict-item]
}
MAX_UNPACKED_GIB = 16.0
GIB = 2**30


class Unpacked(io.BufferedIOBase):
    """The unpacked bytes of a compressed file; raises `ValueError` for a read beyond the first `max_gib`."""

    def __init__(self, path: Path, opener: Callable[[Path], Any], max_gib: float) -> None:
        self.path, self.max_gib = path, max_gib
        self.file = opener(path)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes, all that are left if it is None or negative."""
        left = int(self.max_gib * GIB) - self.file.tell()
        content = self.file.read(left + 1 if size is None or size < 0 else min(size, left + 1))
        return self._require(len(content) <= left, content)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a byte; what lies between is unpacked and not kept."""
        return self._require(offset <= self.max_gib * GIB, self.file.seek(min(offset, int(self.max_gib * GIB)), whence))

    def tell(self) -> int:
        """Return the number of the next byte."""
        return self.file.tell()

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        super().close()

    def _require(self, is_within: bool, value: Any) -> Any:
        if not is_within:
            raise ValueError(
                f"{self.path}: unpacks to more than {self.max_gib:g} GiB; raise dataset.max_unpacked_gib if it is what "
                "you expect, or unpack it and give the folder"
            )
        return value


def opener_of(start: bytes) -> Callable[[Path], IO[bytes]] | None:
    """Return what opens a file that begins with `start` as its unpacked bytes; None if it is not compressed."""
    return next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), None)


def read_stretches(
    path: Path, offsets: Int64[np.ndarray, " file"], sizes: Int64[np.ndarray, " file"], max_gib: float
) -> tuple[bytes, Int64[np.ndarray, " file"]]:
    """Return the files at `offsets` of the unpacked archive one after another, and where each begins in that."""
    with path.open("rb") as file:
        opener = opener_of(file.read(8))
    assert opener is not None, f"{path} is not compressed"
    starts, content = {}, bytearray()
    with Unpacked(path, opener, max_gib) as unpacked:
        for offset, size in sorted(set(zip(offsets.tolist(), sizes.tolist(), strict=True))):  # links share a file
            starts[offset] = len(content)
            unpacked.seek(offset)
            content += unpacked.read(size)
    return bytes(content), np.array([starts[offset] for offset in offsets.tolist()], np.int64)
