"""Read the names, places and links of all members of a tar or zip archive, without the files themselves.

Formats: the tar formats of POSIX.1-1988 (ustar), POSIX.1-2001 (pax) and GNU, as `tarfile` knows them; zip after
PKWARE's APPNOTE.TXT 6.3, sections 4.3.7 (the local header, which says where a file begins) and 4.4.5 (methods 0 and 8).
"""

from __future__ import annotations

import io
import lzma
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.listing.compressed_tar import Unpacked, opener_of
from runtime.messages import one_line

ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second is an empty archive
UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error, EOFError, OSError)
MAX_HEADER_BYTES = 2**20  # of a name, or of other notes before a file; `tarfile` reads as many as a header claims
MAX_TARGET_BYTES = 2**12  # of the path that a link leads to
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Stretch(NamedTuple):
    """A file: `size` bytes from `offset` on, or deflated to `packed` bytes there unless that is 0."""

    offset: int
    size: int
    packed: int = 0


class Link(NamedTuple):
    """A link to the path `target` below the archive's root; None if it leads out, and for a special file."""

    target: tuple[str, ...] | None


Node = dict | Stretch | Link  # a folder is `{name: node}`


class Header(tarfile.TarInfo):
    """A header of a tar archive; raises `tarfile.ReadError` for one that says its own notes are larger than any are."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Header:
        """Return the header in a block of 512 bytes."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in NOTES and not 0 <= header.size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {header.size} bytes of notes")
        if header.size < 0:
            raise tarfile.ReadError(f"a header claims {header.size} bytes")
        return header


NOTES = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


def read_members(path: Path, in_place: bool, max_gib: float) -> tuple[dict[str, Node], bool]:
    """Return the root folder of an archive, and whether it is compressed as a whole: offsets then count unpacked bytes.

    Raises `ValueError` for what is no archive, truncated, unpacks to more than `max_gib`, or, with `in_place`, is
    compressed as a whole.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            size = path.stat().st_size
            if start.startswith(ZIP):
                return _tree(path, _in_zip(file, path, size)), False
            if (opener := opener_of(start)) is None:
                return _tree(path, _in_tar(file, size, path)), False
        if in_place:
            raise ValueError(
                f"{path}: a compressed archive cannot be read image by image; unpack it to a .tar, a .zip "
                "or a folder, or take dataset=image_folder, which reads all into memory"
            )
        with Unpacked(path, opener, max_gib) as unpacked:
            return _tree(path, _in_tar(unpacked, None, path)), True
    except UNREADABLE as error:
        raise ValueError(
            f"{path}: cannot be read as an archive ({one_line(error)}); fetch it again, or pack it as .tar.xz, "
            ".tar.gz, .tar or .zip"
        ) from None


def tar_members(file: io.BufferedIOBase, start: int, size: int | None, place: str) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar archive of `size` bytes (None: to the end of the file) that begins at `start`.

    Offsets count from byte 0.
    """
    file.seek(start)
    # Every archive ends with two blocks of zeros: one without them was cut, perhaps between two of its files.
    too_early, end = tarfile.ReadError(f"{place} ends too early"), start
    with tarfile.open(fileobj=file, mode="r:", tarinfo=Header) as archive:
        for member in archive:
            end = member.offset_data + member.size if member.isreg() else member.offset_data
            if size is not None and member.isreg() and end > start + size - 1024:
                raise too_early
            yield member
        file.seek(archive.offset)  # `tarfile` takes a header that it cannot read for the end
        if file.read(512).strip(b"\0"):
            raise tarfile.ReadError(f"{place} has a damaged header at byte {archive.offset}")
    if size is None:
        file.seek(end)
        if len(file.read(1024)) < 1024:
            raise too_early
    elif size < 1024:
        raise too_early


def _in_tar(file: io.BufferedIOBase, size: int | None, path: Path) -> Iterator[tuple[str, Node]]:
    for member in tar_members(file, 0, size, str(path)):
        if member.isdir():
            yield member.name, {}
        elif member.isreg() and not member.issparse():
            yield member.name, Stretch(member.offset_data, member.size)
        elif member.islnk():
            yield member.name, Link(_parts(member.linkname))
        else:
            yield member.name, _symbolic(member.name, member.linkname) if member.issym() else Link(None)


def _in_zip(file: io.BufferedIOBase, path: Path, size: int) -> Iterator[tuple[str, Node]]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")  # as some programs of Windows write it
            if name.endswith("/"):
                yield name, {}
                continue
            if info.flag_bits & 1 or info.compress_type not in METHODS:
                kind = "encrypted" if info.flag_bits & 1 else f"packed by method {info.compress_type}"
                raise ValueError(f"{path}: {name} is {kind}; pack the archive again, without a password, by deflate")
            if stat.S_ISLNK(info.external_attr >> 16):
                with archive.open(info) as link:
                    yield name, _symbolic(name, link.read(MAX_TARGET_BYTES).decode(errors="surrogateescape"))
                continue
            file.seek(info.header_offset)
            name_length, extra_length = struct.unpack("<26xHH", file.read(30))
            offset = info.header_offset + 30 + name_length + extra_length
            if offset + info.compress_size > size:
                raise zipfile.BadZipFile(f"{name} ends too early")
            is_packed = info.compress_type == zipfile.ZIP_DEFLATED
            yield name, Stretch(offset, info.file_size, info.compress_size if is_packed else 0)


def _tree(path: Path, members: Iterator[tuple[str, Node]]) -> dict[str, Node]:
    """Return the root folder; folders that are not members themselves are made."""
    top: dict[str, Node] = {}
    for name, node in members:
        parts = _parts(name)
        if parts is None:
            raise ValueError(f"{path}: holds {name}, a name that leads out of the archive; pack it again without it")
        folder = top
        for part in parts if isinstance(node, dict) else parts[:-1]:
            below = folder.setdefault(part, {})
            if not isinstance(below, dict):
                raise ValueError(f"{path}: {name} lies below a file or a link of that name; pack it again")
            folder = below
        if not isinstance(node, dict) and parts:
            if isinstance(folder.get(parts[-1]), dict):
                raise ValueError(f"{path}: {name} is a file and a folder; pack it again")
            folder[parts[-1]] = node  # the last one of a name, as when the archive is extracted
    return top


def _symbolic(name: str, target: str) -> Link:
    return Link(None if target.startswith("/") else _parts(posixpath.join(posixpath.dirname(name), target)))


def _parts(name: str) -> tuple[str, ...] | None:
    """Split a path into its parts, without "." and ".."; None if it leads out of the archive."""
    normal = posixpath.normpath(name.lstrip("/") or ".")
    parts = () if normal == "." else tuple(normal.split("/"))
    return None if parts[:1] == ("..",) else parts
