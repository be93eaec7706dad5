"""Read files that anybody may have put there, and tell what is in the way of one."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_plain(path: Path, max_bytes: int) -> bytes:
    """Return the content of a plain file; raises `OSError` where none can be read, `ValueError` for anything else.

    Folders, pipes and devices are refused, and so are files of more than `max_bytes`.
    """
    # A pipe would wait for a writer; of a plain file the flag changes nothing.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise ValueError("expected a plain file, got a folder, a pipe or a device")
    with open(number, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"expected at most {max_bytes} bytes, got more")
    return content


def is_in_the_way(path: Path) -> bool:
    """Return True for a folder, a pipe or a device in the place of a file; a link counts as what it leads to."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
