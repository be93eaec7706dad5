"""The log of a run, in the folder of its row."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.console import say

log = logging.getLogger("compression_bench")


class _Log(logging.FileHandler):
    """A log file that prints one line when the disk is full, instead of a traceback for each record."""

    is_full = False

    def handleError(self, record: logging.LogRecord) -> None:  # the name is logging's
        if not self.is_full:
            self.is_full = True
            say(f"no log: {self.baseFilename} cannot be written ({sys.exc_info()[1]})")

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Inside the block, append what this suite logs to `path`; where that is impossible, say so and go on."""
    try:
        handler = _Log(path, mode="a", encoding="utf-8")
    except OSError as error:
        say(f"no log: {path} cannot be written ({error.strerror})")
        yield
        return
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
