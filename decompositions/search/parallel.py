"""Several processes share a rank search: each factorises some of the layers, and all learn what it found.

What goes from one to another is small: the frontiers of its layers, and the factors at the ranks that were asked for.
An analysis, which holds tensors as large as the weight, stays where it was made, and every process multiplies the
factors out itself, because Θ is as large as the network. A layer is computed by one process, in the way in which a
process alone would do it, so that the results have the same bits in all of them, and the bits of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

T = TypeVar("T")

# An eigenvalue problem runs at some tenth of the speed of the products that lead to it (measured on a CPU).
EIGENVALUES = 10


@runtime_checkable
class Processes(Protocol):
    """Those that search together; this one is number `rank`, from 0, of `size`."""

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...

    def all_gather(self, value: T) -> list[T]:
        """What each process has, in the order of their ranks, its tensors on this process's device; all must ask."""
        ...


@dataclass(frozen=True)
class Alone:
    """One process, which does everything."""

    rank: int = 0
    size: int = 1

    def all_gather(self, value: T) -> list[T]:
        """Its own."""
        return [value]


def owners(weights: Mapping[str, Tensor], size: int) -> dict[str, int]:
    """The process that has each layer: the most expensive layer first, to the one with the least to do so far."""
    loads = [0] * size
    owner = {}
    for name in sorted(weights, key=lambda name: cost(weights[name]), reverse=True):
        owner[name] = loads.index(min(loads))
        loads[owner[name]] += cost(weights[name])
    return owner


def cost(weight: Tensor) -> int:
    """About how long a weight takes, in multiply-adds: its Gram matrix and the eigenvalues of that."""
    side = min(weight.shape[0], weight.numel() // max(weight.shape[0], 1))
    return side * weight.numel() + EIGENVALUES * side**3


def shared(processes: Processes, owner: Mapping[str, int], work: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """The result of each layer's `work`, done by its owner alone; all processes must ask for the same layers.

    What the first layer that fails raises, is raised in every process; a `ValueError` with the layer's name.
    """
    done: dict[str, T | Exception] = {}
    for name, run in work.items():
        if owner[name] == processes.rank:
            try:
                done[name] = run()
            except Exception as error:  # the others would wait for ever
                done[name] = error
    found = {name: result for part in processes.all_gather(done) for name, result in part.items()}
    results: dict[str, T] = {}
    for name in work:
        result = found[name]
        if isinstance(result, ValueError):
            raise ValueError(f"layer {name}: {result}") from None
        if isinstance(result, Exception):
            raise result
        results[name] = result
    return results
