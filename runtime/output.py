"""Standard output and standard error that a process may lose while it works: what it says never decides what it does.

The reader of a pipe goes away (`… | head`), a terminal is closed, the disk of a file is full, a stream was closed from
the start. Everything that a process prints, its libraries' lines and its bars too, goes through these two streams, so
that no statement that prints can fail.
"""

from __future__ import annotations

import errno
import io
import logging
import mmap
import os
import select
import sys
from typing import cast

log = logging.getLogger("compression_bench")

NAMES = ("stdout", "stderr")
FOR_A_WHILE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # there may be room for a later line
# Why a stream of this process was lost first, by its name.
_lost: dict[str, OSError] = {}


class _Output(io.RawIOBase):
    """The file with a number, to which every write succeeds. `told` is shared with forks: a loss is told once."""

    def __init__(self, name: str, number: int, note: str, told: mmap.mmap) -> None:
        self._name, self._number, self._note, self._told = name, number, note, told

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: bytes) -> int:  # type: ignore[override]  # who writes text hands over bytes
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._number, rest) :]
            except BlockingIOError:  # whoever shares the pipe made it so; the reader is slow, not gone
                select.select([], [self._number], [])
            except OSError as error:
                self._lose(error)
                break
        return len(data)

    def _lose(self, error: OSError) -> None:
        if error.errno not in FOR_A_WHILE:
            _put_null_at(self._number)  # for libraries and processes that write there themselves, and fail or die
        if self._name in _lost:
            return
        _lost[self._name] = error
        log.info(f"{self._name} is lost: {error.strerror}")
        if self._name == "stdout" and self._note and not self._told[0]:
            self._told[0] = 1
            print(f"note: {self._name} is lost ({error.strerror}); {self._note}", file=sys.stderr)


def keep_output(note: str = "") -> None:
    """Make sys.stdout and sys.stderr streams whose writes succeed; what cannot be written is dropped.

    A stream that was closed becomes one to nowhere, before another file gets its number. Characters that the stream
    does not know are replaced. One that is no file, as in a notebook, is left alone. `note` is said on standard error
    when standard output is lost.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            _put_null_at(number)
    told = mmap.mmap(-1, 1)
    for number, name in enumerate(NAMES, 1):
        stream = getattr(sys, name)
        if isinstance(getattr(stream, "buffer", None), _Output):
            continue
        encoding = "utf-8" if stream is None else stream.encoding
        try:
            number = number if stream is None else stream.fileno()
        except (OSError, ValueError):
            continue
        # Unbuffered: nothing is left to fail at the end.
        raw = cast(io.BufferedIOBase, _Output(name, number, note, told))
        setattr(sys, name, io.TextIOWrapper(raw, encoding, "replace", line_buffering=True))


def lost_output() -> OSError | None:
    """Return why standard output was lost, or None."""
    return _lost.get("stdout")


def _put_null_at(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
