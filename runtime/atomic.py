"""Write files atomically: a reader sees the old file, the new file or none, never a part of one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path; move the file that the block writes there to `path`, whose folder is made if missing.

    If the block raises, the temporary file is removed, `path` does not change, and the error propagates.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "row.json"
    ...     with atomic_write(path) as temporary:
    ...         _ = temporary.write_text("{}")
    ...     path.read_text()
    '{}'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes, or threads of one, may write the same file at once; readers of rows skip hidden names.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
