"""The first batches of an epoch and no others, for runs that only show that everything works."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from torch import Tensor

from datamodules.data import Batches


class FirstBatches:
    """At most `num_batches` of `batches`, whose `epoch` and `share` are still theirs."""

    def __init__(self, batches: Batches, num_batches: int) -> None:
        self.batches = batches
        self.num_batches = num_batches

    def __len__(self) -> int:
        return min(len(self.batches), self.num_batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return islice(iter(self.batches), self.num_batches)
