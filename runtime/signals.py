"""Handle what asks to end: the first signal is deferred to where the run can resume later, the second one is not.

These are Ctrl-C, SIGTERM, and SIGHUP, which comes when a terminal is closed, unless it is ignored, as under `nohup`.

Such a point is the end of a batch or an epoch, or a state that the method saves. The notice that a launcher gets before
its machine is taken away (SIGUSR1 or SIGUSR2, if the launcher has a handler for it) is deferred in the same way; the
launcher's handler runs afterwards.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from runtime.console import say

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LAUNCHER_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(BaseException):
    """The user, or the manager of the machine, asked this process to end; this is no failure of a point.

    >>> str(Interrupted(signal.SIGTERM)), Interrupted(signal.SIGTERM).exit_code
    ('SIGTERM', 143)
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """Return 130 for Ctrl-C, 143 for SIGTERM and 129 for SIGHUP, as shells do."""
        return 128 + self.number

    def __str__(self) -> str:
        return "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name


class InterruptedWaiting(Interrupted, KeyboardInterrupt):
    """Raised while this process waits for others, in libraries that let nothing but KeyboardInterrupt through."""


# Whoever ends a job often signals all of its processes, and those forward the signal to each other; a session that ends
# sends SIGTERM and SIGHUP. Within so many seconds a signal is a repetition, not a second request.
REPEATED_SECONDS = 0.5

# State of this process, which has one main thread to be interrupted.
_pending: list[int] = []
_last_received: dict[int, float] = {}
_is_deferring: list[bool] = []


def ending_signals() -> tuple[int, ...]:
    """Return the signals that ask this process to end."""
    return tuple(n for n in SIGNALS if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN)


def is_interrupted() -> bool:
    """Return True if this process was asked to end."""
    return bool(_pending)


def check_interrupted() -> None:
    """Raise `Interrupted` if this process was asked to end."""
    if _pending:
        raise Interrupted(_pending[0])


@contextmanager
def interrupt_between_batches() -> Iterator[None]:
    """Defer the first signal inside the block to the next `check_interrupted`, or to the end of the block.

    Raises `Interrupted` there; a second signal raises it at once.
    """
    try:
        has_handler = [number for number in LAUNCHER_SIGNALS if callable(signal.getsignal(number))]
        with _handler(_defer, (*ending_signals(), *has_handler)):
            _is_deferring.append(True)
            _last_received.clear()
            yield
            check_interrupted()
    finally:
        forwarded = [number for number in _pending if number in LAUNCHER_SIGNALS]
        _is_deferring.clear()
        _pending.clear()
        for number in forwarded:
            signal.raise_signal(number)


def restore_handlers() -> None:
    """Install the handlers of `interrupt_between_batches` again: Lightning replaces them when a phase begins."""
    if _is_deferring and threading.current_thread() is threading.main_thread():
        for number in ending_signals():
            signal.signal(number, _defer)


@contextmanager
def interrupt_at_once() -> Iterator[None]:
    """Raise `Interrupted` at any statement of the block when a signal arrives: this process only waits for others."""
    with _handler(_interrupt, ending_signals()):
        try:
            yield
        except KeyboardInterrupt as error:
            if isinstance(error, Interrupted) or not _last_received:
                raise
            # A library replaced our error by a plain KeyboardInterrupt.
            raise Interrupted(max(_last_received, key=_last_received.__getitem__)) from None


def _defer(number: int, frame: FrameType | None) -> None:
    if _is_repeated(number):
        return
    if _pending and number in SIGNALS:
        raise Interrupted(number)
    _pending.append(number)
    say(f"{Interrupted(number)}: stopping after this batch; rerun to resume; repeat to stop now")


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _is_repeated(number):
        raise InterruptedWaiting(number)


def _is_repeated(number: int) -> bool:
    now, before = time.monotonic(), max(_last_received.values(), default=-math.inf)
    _last_received[number] = now
    return now - before < REPEATED_SECONDS


@contextmanager
def _handler(handler: signal._HANDLER, numbers: tuple[int, ...]) -> Iterator[None]:
    """Handle the signals `numbers` with `handler` inside the block, and as before after it."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread gets signals
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
