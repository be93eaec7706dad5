"""Move a file that cannot be used out of the way: what is computed again takes its place, and it can be looked at."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SUFFIX = ".unusable"


def set_aside(path: Path) -> Path:
    """Rename what is at `path` to `<name>.unusable`, or with the first number that is free behind; return its new path.

    Where that cannot be done it stays, and `path` is returned.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(2):
    ...         _ = (path := Path(folder) / "result.json").write_text("{")
    ...         set_aside(path).name
    'result.json.unusable'
    'result.json.unusable.2'
    """
    with suppress(OSError):  # nobody may write here, or it is gone
        return path.rename(free_name(path))
    return path


def free_name(path: Path) -> Path:
    """Return the first name of `path` as a file that cannot be used that nothing has."""
    names = (f"{path.name}{SUFFIX}{f'.{number}' if number > 1 else ''}" for number in range(1, 10_000))
    return next(path.with_name(name) for name in names if not os.path.lexists(path.with_name(name)))
