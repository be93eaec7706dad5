"""Several processes share a rank search: each factorises some of the layers and sends the results to all.

Only small things are sent: frontiers, and the factors at the ranks chosen. An analysis, which holds tensors as large as
the weight, stays in its process, and every process multiplies the factors out itself, because Θ is as large as the
network. Each layer is computed by one process, exactly as a single process would compute it, so that all processes
hold the same bits, and those of a single process.
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
    """The processes that search together; this one is number `rank`, from 0, of `size`.

    `runtime.distributed.Group` is one.
    """

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...

    def all_gather(self, value: T) -> list[T]:
        """Return every process's `value` in the order of ranks, tensors on this process's device; all must call it."""
        ...


@dataclass(frozen=True)
class Alone:
    """A single process, which computes everything."""

    rank: int = 0
    size: int = 1

    def all_gather(self, value: T) -> list[T]:
        """Return the one value there is."""
        return [value]


def owners(weights: Mapping[str, Tensor], size: int) -> dict[str, int]:
    """Return the process of each layer: the most expensive layer first, to the process with the least work so far.

    >>> import torch
    >>> owners({"large": torch.ones(9, 9), "small": torch.ones(2, 2), "middle": torch.ones(3, 3)}, size=2)
    {'large': 0, 'middle': 1, 'small': 1}
    """
    loads = [0] * size
    owner = {}
    for name in sorted(weights, key=lambda name: cost(weights[name]), reverse=True):
        owner[name] = loads.index(min(loads))
        loads[owner[name]] += cost(weights[name])
    return owner


def cost(weight: Tensor) -> int:
    """Estimate the time that a weight takes, in multiply-adds: its Gram matrix and the eigenvalues of that."""
    side = min(weight.shape[0], weight.numel() // max(weight.shape[0], 1))
    return side * weight.numel() + EIGENVALUES * side**3


def shared(processes: Processes, owner: Mapping[str, int], work: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Return the result of each layer's `work`, done by its owner; all processes must call it with the same layers.

    If layers fail, the error of the first of them is raised in every process; a `ValueError` names the layer.
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
