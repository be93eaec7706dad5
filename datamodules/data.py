"""The role of a data set: three parts as normalised batches on a device, a written split, and a fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from pytorch_lightning import LightningDataModule
from torch import Tensor


@runtime_checkable
class Batches(Protocol):
    """An epoch of `(samples, labels)`: float32 `(batch, *input_shape)`, normalised, and int64 `(batch,)`.

    Both lie on the device that was asked for. `epoch` chooses the order and the random moves of training batches; the
    same epoch of the same seed is the same again, whatever was read before. Of every batch only `share` is read, for
    several processes may share it: a training batch with too few samples for all is read by each of them as a whole.
    """

    epoch: int
    share: slice

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...


class Data(LightningDataModule):
    """A data set. Subclasses read files; what a subclass's `__init__` does not name is refused as an option.

    `input_shape` and `num_classes` are known after `prepare_data`, at the latest. `split` is the written split, as it
    stands in every result. `fingerprint` is known after `setup`: it tells other files under the same name apart.
    `evaluation_batch_size` is that of the validation and test batches.
    """

    input_shape: tuple[int, ...]
    num_classes: int
    split: str
    fingerprint: str
    evaluation_batch_size: int = 1000

    def __init__(self) -> None:
        super().__init__()

    def prepare_data(self) -> None:
        """Check that the files are there; raises `ValueError` that names path, files and remedy."""

    def setup(self, stage: str | None = None) -> None:
        """Make all parts ready, once; raises `ValueError` for damaged files and for an empty part."""
        raise TypeError(f"{type(self).__name__} must define setup()")

    def train_batches(self, batch_size: int, seed: int, device: torch.device | str = "cpu") -> Batches:
        """The training part, shuffled."""
        raise TypeError(f"{type(self).__name__} must define train_batches()")

    def validation_batches(self, device: torch.device | str = "cpu") -> Batches:
        """The validation part, in order: whatever is selected is selected on it."""
        raise TypeError(f"{type(self).__name__} must define validation_batches()")

    def test_batches(self, device: torch.device | str = "cpu") -> Batches:
        """The test part, in order: read once, at the end."""
        raise TypeError(f"{type(self).__name__} must define test_batches()")


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """One generator an epoch: its state never depends on what ran before. On the CPU: the same on all devices."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def share_of(index: Int64[Tensor, " sample"], share: slice, training: bool) -> Int64[Tensor, " some"]:
    """The samples of a batch that are in `share`; of a training batch with fewer than processes, all."""
    return index if training and len(index) < (share.step or 1) else index[share]


def hold_out(num: int, num_held_out: int, seed: int) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " held_out"]]:
    """Split `range(num)` at random, the same way for the same seed: the kept and the held-out indices, sorted."""
    order = torch.randperm(num, generator=torch.Generator().manual_seed(seed))
    return order[num_held_out:].sort().values, order[:num_held_out].sort().values
