"""Parts of an epoch: its first batches only, or what a stopped process left of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from torch import Tensor

from datamodules.data import Batches


class FirstBatches:
    """Read at most the first `num_batches` of `batches`, in runs that only show that everything works.

    `epoch` and `share` are set on `batches` itself.
    """

    def __init__(self, batches: Batches, num_batches: int) -> None:
        self.batches = batches
        self.num_batches = num_batches

    def __len__(self) -> int:
        return min(len(self.batches), self.num_batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return islice(iter(self.batches), self.num_batches)


class SkipBatches:
    """Skip the first `start` of `batches` in the next epoch that is read; read all of them in the epochs after it.

    The skipped batches are read all the same: only reading them tells where the others begin.
    """

    def __init__(self, batches: Batches | FirstBatches) -> None:
        self.batches = batches
        self.start = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        start, self.start = self.start, 0
        yield from islice(iter(self.batches), start, None)
