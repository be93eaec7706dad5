"""The process group that trains one point: this process's rank, all-gather, broadcast and all-reduce.

A process that trains alone is rank 0 of 1: every operation returns at once and copies nothing.
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
    """This process's `rank`, from 0, among `size` processes."""

    rank: int
    size: int

    @property
    def share(self) -> slice:
        """Return the slice of every batch that this process computes.

        >>> list(range(8))[Group(rank=1, size=3).share]
        [1, 4, 7]
        """
        return slice(self.rank, None, self.size)

    def all_gather(self, value: T) -> list[T]:
        """Return the `value` of every process, in the order of their ranks; every process must call it.

        Tensors arrive on this process's device, with their strides, on which the bits of a product may depend.
        """
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, self.serialize(value))
        return [torch.load(io.BytesIO(part), map_location=_to_this_device, weights_only=False) for part in gathered]

    def serialize(self, value: object) -> bytes:
        """Return the bytes that `all_gather` sends for `value`."""
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()


def group() -> Group:
    """Return the group of this process.

    >>> group()
    Group(rank=0, size=1)
    """
    if distributed.is_available() and distributed.is_initialized():
        return Group(distributed.get_rank(), distributed.get_world_size())
    return Group(0, 1)


def broadcast(value: T) -> T:
    """Return rank 0's `value`; every process must call it."""
    if group().size == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Copy rank 0's values into `tensors`, in place; every process must call it.

    Buffers need it: each process's batch norms saw other samples.
    """
    if group().size > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def all_reduce(values: Tensor) -> Tensor:
    """Return the sum of `values` over all processes, the same bits in each; every process must call it."""
    if group().size > 1:
        values = values.clone()
        distributed.all_reduce(values)
    return values


def sample_weight(num: int) -> float:
    """Return the weight that makes the average over processes a per-sample average.

    `num` is how many samples this process's own mean is over. Every process must call it.

    >>> sample_weight(64)
    1.0
    """
    size = group().size
    return 1.0 if size == 1 else num * size / float(all_reduce(torch.tensor(float(num))))


def _to_this_device(storage: Any, location: str) -> Any:
    """Load what was on a GPU to the current one: another process's GPU has another number."""
    return storage.cuda() if location.startswith("cuda") else storage
