"""Find the clips of UCF11's official tree, `<folder>/<class>/v_<word>_<group>/v_<word>_<group>_<clip>.mpg` or `.avi`.

The word often differs from the class (`basketball/v_shooting_01/v_shooting_01_01.mpg`), so the folder names the class;
the last two numbers of a file's name are group and clip. Folders called `Annotation` and hidden files are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("UCF11_updated_mpg", "UCF11_updated", "UCF11")
ENDINGS = (".mpg", ".avi")
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

    Raises `ValueError` that names what is missing, empty, wrongly named or there twice.
    """
    classes = sorted(path.name for path in tree.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise ValueError(f"{tree}: {len(classes)} class folders; expected two or more with {LAYOUT}")
    clips = [clip for label, name in enumerate(classes) for clip in _in_class(tree / name, label)]
    seen: dict[str, Path] = {}
    for clip in clips:
        if (other := seen.setdefault(clip.name, clip.path)) != clip.path:
            raise ValueError(f"{clip.path}: {other} is the same clip; delete one of them")
    return clips


def _in_class(folder: Path, label: int) -> list[Clip]:
    clips = []
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part.lower() == "annotation" for part in inner)
        if hidden or path.suffix.lower() not in ENDINGS or path.is_dir():
            continue
        if not path.is_file():
            raise ValueError(f"{path}: a link that leads to no file; mend or delete it")
        found = NAME.fullmatch(path.stem)
        if found is None or len(inner) != 2:
            raise ValueError(f"{path}: a clip with a strange name; expected {LAYOUT}: rename it, or delete it")
        clips.append(Clip(path, folder.name, label, group=int(found[1])))
    if not clips:
        raise ValueError(f"{folder}: the class holds no clip ({' or '.join(ENDINGS)}); put some there, or delete it")
    return clips
