"""The processes that train one point together: which of them this is, and what they agree on.

Alone, a process is the first of one, and nothing here costs anything.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """Process number `rank`, from 0, of `size`."""

    rank: int
    size: int

    @property
    def share(self) -> slice:
        """Which samples of every batch are this process's."""
        return slice(self.rank, None, self.size)

    def all_gather(self, value: T) -> list[T]:
        """What each process has, in the order of their ranks, tensors on this process's device; every process must ask.

        Tensors keep their strides, on which the bits of a product may depend.
        """
        if self.size == 1:
            return [value]
        boxes: list[Any] = [None] * self.size
        distributed.all_gather_object(boxes, self.packed(value))
        return [torch.load(io.BytesIO(box), map_location=_here, weights_only=False) for box in boxes]

    def packed(self, value: object) -> bytes:
        """A value as it goes from one process to another."""
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()


def group() -> Group:
    """The group of this process."""
    if distributed.is_available() and distributed.is_initialized():
        return Group(distributed.get_rank(), distributed.get_world_size())
    return Group(0, 1)


def broadcast(value: T) -> T:
    """What the first process has."""
    if group().size == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Give tensors the values of the first process, in place: each one's batch norms saw other samples."""
    if group().size > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def all_reduce(values: Tensor) -> Tensor:
    """The sum over all processes, the same bits in each."""
    if group().size > 1:
        values = values.clone()
        distributed.all_reduce(values)
    return values


def sample_weight(num: int) -> float:
    """What this process's mean over `num` samples counts in a mean of the processes that is to be one of the samples.

    Every process must ask.
    """
    size = group().size
    return 1.0 if size == 1 else num * size / float(all_reduce(torch.tensor(float(num))))


def _here(storage: Any, place: str) -> Any:
    """Another process's GPU has another number: what was on it is put on the current one."""
    return storage.cuda() if place.startswith("cuda") else storage
