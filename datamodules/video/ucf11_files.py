"""Find the clips of UCF11's official tree, `<folder>/<class>/v_<word>_<group>/v_<word>_<group>_<clip>.mpg`.

The word often differs from the class (`basketball/v_shooting_01/v_shooting_01_01.mpg`), so the folder names the class;
the last two numbers of a file's name are group and clip. datamodules/listing/rule.py says which files are videos, and
which entries are hidden, the folders `Annotation` among them. Links are followed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from datamodules.listing.image_parts import refuse_broken
from datamodules.listing.places import Entry, Folder, join
from datamodules.listing.rule import VIDEOS, is_hidden, is_video, tell_unread

FOLDERS = ("UCF11_updated_mpg", "UCF11_updated", "UCF11")
NAME = re.compile(r"v_.+_(\d+)_(\d+)")
LAYOUT = f"{FOLDERS[0]}/<class>/v_<word>_<group>/v_<word>_<group>_<clip>.mpg"
SOURCE = "https://www.crcv.ucf.edu/data/UCF_YouTube_Action.php"


@dataclass(frozen=True)
class Clip:
    """A video file; `label` is the place of its class in the sorted classes. Clips of one `group` share a scene."""

    path: Path
    class_name: str
    label: int
    group: int

    @property
    def name(self) -> str:
        """`<class>/<file>` without its ending."""
        return f"{self.class_name}/{self.path.stem}"


def find_tree(root: Path) -> Path:
    """Return the folder below `root` that holds the classes; raise `ValueError` unless there is exactly one."""
    there = [root / name for name in FOLDERS if (root / name).is_dir()]
    if not there:
        raise ValueError(
            f"UCF11: {root.absolute()} holds no {' or '.join(FOLDERS)}; expected {LAYOUT}: fetch the archive "
            f"from {SOURCE} by hand, unpack it, and set dataset.root (or DATA_ROOT) to where it lies"
        )
    if len(there) > 1:
        raise ValueError(f"UCF11: both {there[0]} and {there[1]} are there; move one away, so that rows name one")
    return there[0]


def find_clips(tree: Path) -> list[Clip]:
    """Return all clips below `tree`, sorted by class and name.

    Raises `ValueError` that names what is missing, empty, wrongly named, there twice, or a link that leads nowhere.
    Files that are no videos are named in one line.
    """
    place = Folder(tree)
    top = _entries(place, "")
    classes = [entry.name for entry in top if entry.kind == "folder"]
    if len(classes) < 2:
        raise ValueError(f"{tree}: {len(classes)} class folders; expected two or more with {LAYOUT}")
    unread = [entry.name for entry in top if entry.kind == "file"]
    clips = [clip for label, name in enumerate(classes) for clip in _in_class(place, name, label, unread)]
    tell_unread(str(tree), unread, LAYOUT)
    seen: dict[str, Path] = {}
    for clip in clips:
        if (other := seen.setdefault(clip.name, clip.path)) != clip.path:
            raise ValueError(f"{clip.path}: {other} is the same clip; delete one of them")
    return clips


def _in_class(place: Folder, name: str, label: int, unread: list[str]) -> list[Clip]:
    """Return the clips of a class; add the paths of files that are no videos to `unread`."""
    clips = []
    entries = _entries(place, name)
    files = [join(name, entry.name) for entry in entries if entry.kind == "file"]
    for group in (join(name, entry.name) for entry in entries if entry.kind == "folder"):
        for entry in _entries(place, group):
            if entry.kind == "folder":
                where = place.root / group / entry.name
                raise ValueError(
                    f"{where}: a folder inside a group; expected {LAYOUT}: move its clips up, or delete it"
                )
            files.append(join(group, entry.name))
    for file in sorted(files, key=lambda name: name.split("/")):
        path = place.root / file
        if not is_video(path.name):
            unread.append(file)
            continue
        found = NAME.fullmatch(path.stem)
        if found is None or file.count("/") != 2:
            raise ValueError(f"{path}: a clip with a strange name; expected {LAYOUT}: rename it, or delete it")
        clips.append(Clip(path, name, label, group=int(found[1])))
    if not clips:
        kinds = ", ".join(VIDEOS)
        raise ValueError(f"{place.root / name}: the class holds no clip ({kinds}); put some there, or delete it")
    return clips


def _entries(place: Folder, folder: str) -> list[Entry]:
    entries = [
        entry
        for entry in place.entries(folder)
        if not is_hidden(entry.name, entry.kind == "folder", beside_videos=True)
    ]
    refuse_broken(place, folder, entries)
    return entries
