"""Index the JPEGs inside the official archives of ImageNet, which are read in place.

One pass over the headers of an archive finds all images. The training archive has 1.3 million: the index is kept in a
file, so that the next start takes a second.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from datamodules.listing.archive_members import tar_members
from datamodules.listing.image_index import ImageIndex, index_of
from datamodules.listing.places import Entry
from runtime.atomic import atomic_write
from runtime.messages import one_line

WNID = re.compile(r"n\d{8}")


def index_archive(path: Path, cache: Path | None) -> ImageIndex:
    """Index an archive of JPEGs, or of archives `<wnid>.tar` of JPEGs; all labels are 0 still.

    The index is kept in the folder `cache` (None: beside the archive) until the archive's size or time changes. Raises
    `ValueError` for an archive that is truncated or holds something else.
    """
    status = path.stat()
    stamp = json.dumps({"version": 1, "archive": path.name, "size": status.st_size, "mtime_ns": status.st_mtime_ns})
    kept = (cache or path.parent) / f"{path.name}.index.npz"
    index = _recall(kept, path, stamp)
    if index is None:
        print(f"reading the headers of {path}, once", file=sys.stderr, flush=True)
        index = index_of(path, True, sorted(_entries(path)))
        _keep(kept, index, stamp)
    return index


def _entries(path: Path) -> Iterator[Entry]:
    try:
        with path.open("rb") as file:
            for member in _files(tar_members(file, 0, path.stat().st_size, str(path)), path):
                if not member.name.endswith(".tar"):
                    yield _jpeg(member, "", path)
                    continue
                wnid = PurePosixPath(member.name).stem
                if not WNID.fullmatch(wnid):
                    raise ValueError(
                        f"{path}: holds {member.name}; expected archives named <wnid>.tar, as n01440764.tar"
                    )
                inside = tar_members(file, member.offset_data, member.size, f"{path}: {member.name}")
                images = [_jpeg(image, f"{wnid}/", path) for image in _files(inside, path)]
                if not images:
                    raise ValueError(f"{path}: {member.name} holds no image; fetch the archive again")
                yield from images
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read as an archive ({one_line(error)}); fetch it again") from None


def _files(members: Iterator[tarfile.TarInfo], path: Path) -> Iterator[tarfile.TarInfo]:
    for member in members:
        if member.isreg():
            yield member
        elif not member.isdir():
            raise ValueError(f"{path}: {member.name} is a link or a special file; is this the official archive?")


def _jpeg(member: tarfile.TarInfo, prefix: str, path: Path) -> Entry:
    if not member.name.lower().endswith((".jpeg", ".jpg")):
        raise ValueError(f"{path}: holds {member.name}; expected JPEG files: is this the official archive?")
    return Entry(f"{prefix}{PurePosixPath(member.name).name}", "file", member.offset_data, member.size)


def _recall(kept: Path, archive: Path, stamp: str) -> ImageIndex | None:
    """Read a kept index; return None if there is none, if it is damaged, or if the archive has changed since."""
    try:
        with np.load(kept, allow_pickle=False) as file:
            if str(file["stamp"]) != stamp:
                return None
            names, offsets, sizes = (file[field] for field in ("names", "offsets", "sizes"))
            zeros = np.zeros(len(names), np.int64)
            return ImageIndex(archive, True, names, offsets, sizes, labels=zeros, packed=zeros)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _keep(kept: Path, index: ImageIndex, stamp: str) -> None:
    """Write the index; warn and go on where it cannot be written."""
    try:
        with atomic_write(kept) as temporary, temporary.open("wb") as file:
            np.savez(file, stamp=np.array(stamp), names=index.names, offsets=index.offsets, sizes=index.sizes)
    except OSError as error:
        warnings.warn(
            f"{kept}: cannot be written ({error.strerror}), so every start reads the headers of {index.container} "
            "again; set dataset.cache to a folder that can be written",
            stacklevel=2,
        )
