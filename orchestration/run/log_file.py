"""The log of a run, beside its row."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.console import console

log = logging.getLogger("compression_bench")


class _Log(logging.FileHandler):
    """A log that a full disk cannot turn into pages of traceback: it is said once, and the run goes on."""

    is_full = False

    def handleError(self, record: logging.LogRecord) -> None:  # the name is logging's
        if not self.is_full:
            self.is_full = True
            console.print(f"no log: {self.baseFilename} cannot be written ({sys.exc_info()[1]})", markup=False)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Write what this suite logs to `path` for a while."""
    handler = _Log(path, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
