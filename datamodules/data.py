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

    Both lie on the requested device. `epoch` chooses the order and the augmentation draws of training batches; the
    same epoch of the same seed is the same again, whatever was read before. Several processes may share a batch: each
    reads its `share` only, or the whole of a training batch that has fewer samples than there are processes.
    """

    epoch: int
    share: slice

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...


class Data(LightningDataModule):
    """A data set. Subclasses read files; the parameters of a subclass's `__init__` are its options in `conf/dataset`.

    `input_shape` and `num_classes` are known after `prepare_data`, at the latest. `split` describes the split in words,
    as every row quotes it. `fingerprint` is known after `setup`: it tells other files under the same name apart.
    `evaluation_batch_size` is the size of validation and test batches.
    """

    input_shape: tuple[int, ...]
    num_classes: int
    split: str
    fingerprint: str
    evaluation_batch_size: int = 1000

    def __init__(self) -> None:
        super().__init__()

    def prepare_data(self) -> None:
        """Check that the files are there; raise `ValueError` that names path, files and remedy."""

    def setup(self, stage: str | None = None) -> None:
        """Make all parts ready, once; raise `ValueError` for damaged files and for an empty part."""
        raise TypeError(f"{type(self).__name__} must define setup()")

    def train_batches(self, batch_size: int, seed: int, device: torch.device | str = "cpu") -> Batches:
        """Return the training part, shuffled anew in every epoch."""
        raise TypeError(f"{type(self).__name__} must define train_batches()")

    def validation_batches(self, device: torch.device | str = "cpu") -> Batches:
        """Return the validation part, in order: every selection is made on it."""
        raise TypeError(f"{type(self).__name__} must define validation_batches()")

    def test_batches(self, device: torch.device | str = "cpu") -> Batches:
        """Return the test part, in order: it is read once, at the end."""
        raise TypeError(f"{type(self).__name__} must define test_batches()")


def hold_out(num: int, num_held_out: int, seed: int) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " held_out"]]:
    """Split `range(num)` at random, the same way for the same seed; return the kept and the held-out indices, sorted.

    >>> kept, held_out = hold_out(5, 2, seed=0)
    >>> kept, held_out
    (tensor([1, 2, 3]), tensor([0, 4]))
    """
    order = torch.randperm(num, generator=torch.Generator().manual_seed(seed))
    return order[num_held_out:].sort().values, order[:num_held_out].sort().values
