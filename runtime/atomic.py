"""Write files atomically: a reader sees the old file, the new file or none, never a part of one.

That holds after a loss of power too: the contents are on the disk before the name is.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CANNOT_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # some file systems have no such thing


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
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def put_back(taken: Path, path: Path) -> None:
    """Give `taken`, which was `path`, its name again, or remove it if there is a newer file of that name."""
    try:
        os.link(taken, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        taken.replace(path)
    taken.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until the contents of `path` are on the disk; raises `OSError` if they do not get there."""
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in CANNOT_SYNC:
                raise
