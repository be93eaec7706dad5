"""The base of all batches: the order of an epoch, the share that a process reads, and the augmentation draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Shaped
from torch import Generator, Tensor

# The samples of a batch, as indices into the split, and the augmentation draws of each; None where there are none.
Chosen = tuple[Tensor, Tensor | None]


class EpochBatches:
    """An epoch of `num_samples` samples in batches on `device`; shuffled, as `epoch` says, if a `seed` is given.

    A subclass reads the samples in `read`, and draws their augmentation in `draw_augmentation`. The order and the draws
    depend on `(seed, epoch)` alone, so that a run repeats exactly. See `datamodules.data.Batches` for `share`.
    `home` is where the samples are: the order goes there, and the draws to `device`, once an epoch: a copy to a GPU
    waits.
    """

    def __init__(self, num_samples: int, batch_size: int, device: torch.device | str, seed: int | None) -> None:
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.seed = seed
        self.epoch = 0
        self.share = slice(None)
        self.home = torch.device("cpu")

    def read(self, batches: Iterable[Chosen]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the samples and labels of each batch on `device`."""
        raise TypeError(f"{type(self).__name__} must define read()")

    def draw_augmentation(self, generator: Generator) -> Shaped[Tensor, "sample ..."] | None:
        """Draw the augmentation of the samples, in the order in which they are read; None: there is none."""
        return None

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from self.read(self._chosen())

    def _chosen(self) -> Iterator[Chosen]:
        order, draws, training = torch.arange(self.num_samples), None, self.seed is not None
        if self.seed is not None:
            generator = epoch_generator(self.seed, self.epoch)
            order, draws = torch.randperm(self.num_samples, generator=generator), self.draw_augmentation(generator)
        order, draws = order.to(self.home), None if draws is None else draws.to(self.device)
        for start in range(0, self.num_samples, self.batch_size):
            batch = slice(start, start + self.batch_size)
            mine = None if draws is None else share_of(draws[batch], self.share, training)
            yield share_of(order[batch], self.share, training), mine


def epoch_generator(seed: int, epoch: int) -> Generator:
    """Make the generator of one epoch: its state never depends on what ran before. On the CPU: the same everywhere."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return `tensor` on `device`; a GPU copies in the background, for which it must be in pinned memory."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


def share_of(index: Shaped[Tensor, "sample ..."], share: slice, training: bool) -> Shaped[Tensor, "some ..."]:
    """Return the samples of a batch that are in `share`; all of a training batch with fewer samples than processes.

    `share` is `slice(rank, None, num_processes)`, or `slice(None)` where one process reads everything.

    >>> share_of(torch.arange(5), slice(1, None, 2), training=True)
    tensor([1, 3])
    >>> share_of(torch.arange(1), slice(1, None, 2), training=True)
    tensor([0])
    >>> share_of(torch.arange(1), slice(1, None, 2), training=False)
    tensor([], dtype=torch.int64)
    """
    return index if training and len(index) < (share.step or 1) else index[share]
