"""List the entries of a folder, or of a tar or zip archive, in one way. Links are followed; nothing is extracted.

Hidden entries (rule.py) are left out. An archive is listed as it would lie on the disk after it was extracted: of a
name that is there twice the last is listed, and a link leads to what has its name inside the archive.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from datamodules.listing.archive_members import Link, Stretch, read_members
from datamodules.listing.compressed_tar import MAX_UNPACKED_GIB
from datamodules.listing.rule import is_hidden

ENDINGS = (".tar.xz", ".tar.gz", ".tgz", ".tar.bz2", ".tar", ".zip")
MAX_LINKS = 40  # to one file, as Linux has it; more are a circle


class Entry(NamedTuple):
    """A file, a folder, or something broken: a link that leads to neither, or a special file.

    A file of an archive is `size` bytes from `offset` on; it lies there deflated in `packed` bytes if that is not 0.
    """

    name: str
    kind: Literal["file", "folder", "broken"]
    offset: int = 0
    size: int = 0
    packed: int = 0


@dataclass(frozen=True)
class Folder:
    """A folder of the disk. Paths of entries are written with "/" and count from `root`, which is ""."""

    root: Path
    is_archive: ClassVar[bool] = False
    is_packed: ClassVar[bool] = False

    def entries(self, folder: str = "") -> list[Entry]:
        """Return what lies in `folder`, which may be a link to one, sorted by name, without what is hidden."""
        with os.scandir(self.root / folder) as found:
            return _shown(_entry(each) for each in found)

    def name(self, path: str) -> str:
        """Return the entry at `path` as messages name it."""
        return str(self.root / path)


class Archive:
    """A tar archive, compressed or not, or a zip archive; raises `ValueError` that names one which cannot be read.

    With `in_place` a compressed tar archive is refused, because no file inside can be read without all before it;
    otherwise offsets count its unpacked bytes, of which it may have `max_gib`, if it `is_packed`.
    """

    is_archive: ClassVar[bool] = True

    def __init__(self, root: Path, in_place: bool, max_gib: float) -> None:
        self.root = root
        self.top, self.is_packed = read_members(root, in_place, max_gib)

    def entries(self, folder: str = "") -> list[Entry]:
        """List as `Folder.entries` does."""
        parts = folder.split("/") if folder else []
        node = self._find(parts)
        assert isinstance(node, dict), f"{folder} is no folder"
        return _shown(self._entry(parts, name) for name in node)

    def name(self, path: str) -> str:
        """Return the entry at `path` as messages name it."""
        return f"{self.root}: {path}" if path else str(self.root)

    def _entry(self, parts: list[str], name: str) -> Entry:
        node = self._find([*parts, name])
        if isinstance(node, Stretch):
            return Entry(name, "file", *node)
        return Entry(name, "broken" if node is None else "folder")

    def _find(self, parts: list[str]) -> dict | Stretch | None:
        """Return the folder or the file at a path, through all links; None if there is neither."""
        node: dict | Stretch | Link | None = self.top
        left, num_links = deque(parts), 0
        while left:
            if not isinstance(node, dict):
                return None
            node = node.get(left.popleft())
            if isinstance(node, Link):
                num_links += 1
                if node.target is None or num_links > MAX_LINKS:
                    return None
                left.extendleft(reversed(node.target))
                node = self.top
        assert not isinstance(node, Link)
        return node


Place = Folder | Archive


def find_root(root: Path, layout: str) -> Path:
    """Return the folder or archive `root`, or `root` plus an archive's ending; raise `ValueError` if there is none."""
    for path in (root, *(root.with_name(root.name + ending) for ending in ENDINGS)):
        if path.is_dir() or path.is_file():
            return path
    raise ValueError(
        f"images: there is no {root.absolute()}, nor an archive of that name ({', '.join(ENDINGS)}); set dataset.root "
        f"(or the environment variable DATA_ROOT) to a folder or archive that holds {layout}"
    )


def open_place(root: Path, in_place: bool, max_gib: float = MAX_UNPACKED_GIB) -> Place:
    """Return the folder or the archive at `root`; with `in_place` its files can be read one by one, in any order."""
    return Folder(root) if root.is_dir() else Archive(root, in_place, max_gib)


def join(folder: str, name: str) -> str:
    """Return the path of an entry of `folder`, "" being the root."""
    return f"{folder}/{name}" if folder else name


def _shown(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entry for entry in entries if not is_hidden(entry.name, entry.kind == "folder"))


def _entry(found: os.DirEntry[str]) -> Entry:
    try:
        if found.is_dir():
            return Entry(found.name, "folder")
        status = found.stat()
    except OSError:  # a link that leads nowhere, or in a circle
        return Entry(found.name, "broken")
    return Entry(found.name, "file" if stat.S_ISREG(status.st_mode) else "broken", size=status.st_size)
