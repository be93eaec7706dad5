"""A file lock that says so when it has to wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lightning_modules.progress import say


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`; another process that holds it is waited for."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another process that holds {path}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
