"""Run work in a child of this process, which survives what kills the child: a crash, or the kernel short of memory.

The child is a fork, so this process must not have started torch, whose threads a fork leaves behind. The child ends
with its parent and gets the signals that its parent gets.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from runtime.signals import Interrupted, ending_signals

POLL_SECONDS = 0.2
PR_SET_PDEATHSIG = 1

# Sends the parent a message: a value that JSON can represent.
Tell = Callable[[Any], None]


def run_forked(work: Callable[[Tell], None]) -> tuple[list[Any], int]:
    """Call `work(tell)` in a child; return the messages it told, and its exit code or minus the signal that killed it.

    In the child it raises `SystemExit` after the work: the caller has nothing else to do there.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(reading)
        _end_with_parent(parent)
        sys.exit(_exit_code(work, lambda value: _write(writing, json.dumps(value) + "\n")))
    os.close(writing)
    os.set_blocking(reading, False)
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {number: signal.signal(number, forward) for number in ending_signals()}
    try:
        text, status = b"", None
        while status is None:
            select.select([reading], [], [], POLL_SECONDS)
            ended, code = os.waitpid(pid, os.WNOHANG)
            status = code if ended else None
            text += _read(reading)
            if not text.endswith(b"\n"):
                time.sleep(POLL_SECONDS / 20)  # at the end of the file `select` no longer waits
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
    messages = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
    return messages, Interrupted(received[0]).exit_code if received else os.waitstatus_to_exitcode(status)


def _exit_code(work: Callable[[Tell], None], tell: Tell) -> int:
    try:
        work(tell)
    except Interrupted as error:
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _write(file: int, text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(file, data) :]


def _read(file: int) -> bytes:
    text = b""
    try:
        while part := os.read(file, 1 << 16):
            text += part
    except BlockingIOError:
        pass
    return text


def _end_with_parent(parent: int) -> None:
    """Make this process end with `parent`: killed by the kernel where it offers that, else by a thread that polls."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (AttributeError, OSError):
        threading.Thread(target=_exit_without_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _exit_without_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)
