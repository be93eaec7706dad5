"""Ctrl-C and SIGTERM: the first is noted and obeyed at the next good moment, the second at once.

A good moment is one from which the run can go on: the end of a batch or of an epoch, or what the method remembers.
What a launcher is sent before the machine is taken away (SIGUSR1 or 2, if it listens for one) is obeyed in the same
way, and then handed on to it.
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

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAUNCHERS = (signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(BaseException):
    """The user, or whoever manages the machine, wants this process to end: no fault that a point could have."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, as shells have it."""
        return 128 + self.number

    def __str__(self) -> str:
        return "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name


class InterruptedWaiting(Interrupted, KeyboardInterrupt):
    """Raised where this process waits for others, in libraries that let nothing but Ctrl-C through."""


# Who ends a job often tells all of its processes, and those hand it on: within so many seconds it is one wish.
ONE_WISH_SECONDS = 0.5

# Of this process, which has one main thread to be interrupted.
_noted: list[int] = []
_last: dict[int, float] = {}
_is_heeding: list[bool] = []


def is_interrupted() -> bool:
    """Whether this process was asked to end."""
    return bool(_noted)


def check_interrupted() -> None:
    """Raise `Interrupted` if this process was asked to end."""
    if _noted:
        raise Interrupted(_noted[0])


@contextmanager
def interrupt_between_batches() -> Iterator[None]:
    """Inside, `obey` says when; what was noted and not obeyed is raised when the block is over."""
    try:
        with _handled(_note, SIGNALS + tuple(number for number in LAUNCHERS if callable(signal.getsignal(number)))):
            _is_heeding.append(True)
            _last.clear()
            yield
            check_interrupted()
    finally:
        handed_on = [number for number in _noted if number in LAUNCHERS]
        _is_heeding.clear()
        _noted.clear()
        for number in handed_on:
            signal.raise_signal(number)


def restore_handlers() -> None:
    """Put the handlers of `at_good_moments` back in their place, which Lightning takes when a phase begins."""
    if _is_heeding and threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _note)


@contextmanager
def interrupt_at_once() -> Iterator[None]:
    """Inside, both signals raise `Interrupted` where the process stands: while it waits for others."""
    with _handled(_raise, SIGNALS):
        try:
            yield
        except KeyboardInterrupt as error:
            if isinstance(error, Interrupted) or not _last:
                raise
            raise Interrupted(max(_last, key=_last.__getitem__)) from None  # a library has made a plain one of it


def _note(number: int, frame: FrameType | None) -> None:
    if _is_an_echo(number):
        return
    if _noted and number in SIGNALS:
        raise Interrupted(number)
    _noted.append(number)
    say(f"{Interrupted(number)}: ends at the next batch, so that the same command goes on there; again: ends at once")


def _raise(number: int, frame: FrameType | None) -> None:
    if not _is_an_echo(number):
        raise InterruptedWaiting(number)


def _is_an_echo(number: int) -> bool:
    now, before = time.monotonic(), _last.get(number, -math.inf)
    _last[number] = now
    return now - before < ONE_WISH_SECONDS


@contextmanager
def _handled(handler: signal._HANDLER, numbers: tuple[int, ...]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread alone
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
