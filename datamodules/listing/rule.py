"""The one rule of what is read: which entries of a folder or an archive are images, which videos, and which are hidden.

Hidden are names that begin with a dot, and files and folders of the names below, whatever the case of their letters.
Every other entry is read, refused by name, or named in one line by `tell_unread`; none is dropped in silence.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import PurePosixPath

from runtime.console import log

# What file managers leave behind, and what authors of archives put beside the files.
HIDDEN_FOLDERS = ("__macosx",)
HIDDEN_FILES = ("thumbs.db", "desktop.ini", "readme", "readme.txt", "readme.md")
HIDDEN_BESIDE_VIDEOS = ("annotation",)  # of UCF11: boxes in XML, one folder a class
IMAGES = tuple(".jpeg .jpg .jpe .jfif .png .webp .avif .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm .tga .jp2".split())
VIDEOS = (".mpg", ".mpeg", ".avi", ".mp4", ".mov", ".webm")
NUM_NAMED = 5


def is_hidden(name: str, is_folder: bool, beside_videos: bool = False) -> bool:
    """Return whether no reader looks at a file or a folder called `name`.

    >>> [is_hidden(name, is_folder=False) for name in (".DS_Store", "Thumbs.db", "README.txt", "notes.txt", "0001.jpg")]
    [True, True, True, False, False]
    >>> is_hidden("__MACOSX", is_folder=True), is_hidden("readme", is_folder=True)  # a class may be called readme
    (True, False)
    """
    hidden = HIDDEN_FOLDERS if is_folder else HIDDEN_FILES
    lowered = name.lower()
    return name.startswith(".") or lowered in hidden or (beside_videos and lowered in HIDDEN_BESIDE_VIDEOS)


def is_image(name: str, may_lack_ending: bool = True) -> bool:
    """Return whether a file called `name` is read as an image; one without an ending may be an image too."""
    ending = PurePosixPath(name).suffix.lower()
    return ending in IMAGES or (may_lack_ending and not ending)


def is_video(name: str) -> bool:
    """Return whether a file called `name` is read as a video."""
    return PurePosixPath(name).suffix.lower() in VIDEOS


def tell_unread(place: str, names: Sequence[str], expected: str) -> None:
    """Say in one line, once a process, which entries of `place` are not read; say nothing if there are none."""
    if names:
        more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
        _warn_once(f"{place}: not read: {', '.join(names[:NUM_NAMED])}{more}; read is {expected}")


@functools.lru_cache(maxsize=1024)  # the points of a sweep list the same files
def _warn_once(line: str) -> None:
    log.warning("%s", line)
