"""Files that appear whole or not at all: a reader sees the old file, the new file or none, never a part."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, made if missing; move what is written there to `path` at the end.

    Where the block raises, the temporary file is removed, `path` stays as it was, and the error goes on.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "row.json"
    ...     with atomic_write(path) as temporary:
    ...         _ = temporary.write_text("{}")
    ...     path.read_text()
    '{}'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes, and threads of one, may write the same file at once; a hidden name is no row that a reader looks for.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
