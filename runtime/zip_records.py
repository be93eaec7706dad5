"""The checksums inside a file of torch, which is a zip archive: each record has a CRC-32, in a table at the end.

torch writes these checksums and does not look at them when it reads. `require_whole` does, and `records_digest` is a
digest of the table: it tells two files apart, of one network and another seed too, at the price of reading the table.
Format: PKWARE, .ZIP File Format Specification, 4.3.12 to 4.3.16 (central directory and its end).
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO

from runtime.digest import digest_bytes
from runtime.messages import first_line


def require_whole(path: Path) -> None:
    """Read all records; raise `ValueError` if one is not what was written, or if the file is no archive.

    Raises `OSError` if the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # damaged bytes make zipfile raise almost anything
        raise ValueError(f"no whole archive: {type(error).__name__}: {first_line(error)}") from None
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} is wrong")


def records_digest(path: Path) -> str:
    """Return twelve hex digits of the table of names, sizes, places and checksums of all records.

    With `require_whole`, equal digits mean equal contents. Raises `ValueError` and `OSError` as that does.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        end = _part(file, size - 22, 22, b"PK\5\6")
        start = int.from_bytes(end[16:20], "little")
        if start == 0xFFFFFFFF:  # a large file: the place is in a longer record, whose place is before this one
            locator = _part(file, size - 42, 20, b"PK\6\7")
            start = int.from_bytes(_part(file, int.from_bytes(locator[8:16], "little"), 56, b"PK\6\6")[48:], "little")
        return digest_bytes([_part(file, start, size - start, b"PK")])


def _part(file: BinaryIO, start: int, size: int, begins: bytes) -> bytes:
    """Read `size` bytes, which must begin so; raises `ValueError`."""
    found = file.read(size) if 0 <= start < 2**62 and file.seek(start) == start else b""
    if len(found) != size or not found.startswith(begins):
        raise ValueError("no whole archive: its table is not where it should be")
    return found
