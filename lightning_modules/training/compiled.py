"""Compile the passes of a network in training; where torch would go on uncompiled without a word, raise an error."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn


class Compiler:
    """Compiles one structure after another; the L steps of one network share what was compiled for it.

    Torch keeps eight compilations of one piece of code, in all points of a process. Then it would run uncompiled, and
    the row would still say that it was compiled.
    """

    def __init__(self) -> None:
        self._network: weakref.ref[nn.Module] | None = None  # the one that was compiled last

    @contextmanager
    def compiled(self, network: nn.Module, call: Callable[[Tensor], Any]) -> Iterator[Callable[[Tensor], Any]]:
        """Yield `call`, which runs `network`, compiled; inside the block one compilation too many raises."""
        if self._network is None or self._network() is not network:
            torch.compiler.reset()
            self._network = weakref.ref(network)
        with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
            yield torch.compile(call)


COMPILER = Compiler()  # as torch's own, there is one in a process
