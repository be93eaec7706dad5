"""The md5 sums of official files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def require_md5(path: Path, content: bytes, expected: str) -> None:
    """Raise `ValueError` that names `path` unless `content`, which was read from it, has the `expected` md5 sum."""
    if (found := hashlib.md5(content).hexdigest()) != expected:
        raise ValueError(
            f"{path}: md5 sum {found}, expected {expected}: truncated, damaged or not the official file; "
            "fetch it again, or give other data a name of their own with dataset=image_folder"
        )
