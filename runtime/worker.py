"""Call functions in a thread of their own, one after another, and wait for each no longer than a limit."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """A thread that works until this process ends; after a `TimeoutError` it may be stuck: take another one.

    All calls come from one thread, because clients of databases and services may insist on it.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[tuple[Any, BaseException | None]]]]
        self._calls = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()  # one that is stuck does not keep the process

    def call(self, work: Callable[[], T], seconds: float) -> T:
        """Return what `work` returns, or raise what it raises; raises `TimeoutError` after `seconds`.

        >>> Worker().call(lambda: 6 * 7, seconds=10)
        42
        """
        answer: queue.SimpleQueue[tuple[T, BaseException | None]] = queue.SimpleQueue()
        self._calls.put((work, answer))
        try:
            value, error = answer.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no answer in {seconds:g} s") from None
        if error is None:
            return value
        if isinstance(error, Exception):
            raise error
        raise RuntimeError(f"it ended with {error!r}")  # a library that exits ends its thread, not this process

    def _work(self) -> None:
        while True:
            work, answer = self._calls.get()
            try:
                answer.put((work(), None))
            except BaseException as error:
                answer.put((None, error))
            del work, answer
