"""An epoch that goes on where a stopped process left it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from torch import Tensor

from datamodules.data import Batches
from datamodules.limited import FirstBatches


class SkipBatches:
    """`batches` without the first `start`, in the next epoch that is read; all of them in those after it.

    What is left out is read all the same: the order of the batches is known only by reading them.
    """

    def __init__(self, batches: Batches | FirstBatches) -> None:
        self.batches = batches
        self.start = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        start, self.start = self.start, 0
        yield from islice(iter(self.batches), start, None)
