"""The role of a data set: three parts as normalised batches on a device, a written split, and a fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from pytorch_lightning import LightningDataModule
from torch import Tensor

from datamodules.normalisation import Kind, Normalisation
from datamodules.normalise import Normalise


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

    `normalisations` are the kinds that the data set knows beside given numbers (`datamodules.normalisation`); one that
    knows only its "own" takes no numbers either. `normalise` is what `setup` made of the choice; None: it is not known.
    """

    normalisations: ClassVar[tuple[Kind, ...]] = ("own",)
    normalisation: Normalisation = Normalisation()
    normalise: Normalise | None = None
    input_shape: tuple[int, ...]
    num_classes: int
    split: str
    fingerprint: str
    evaluation_batch_size: int = 1000

    def __init__(self) -> None:
        super().__init__()

    def prepare_data(self) -> None:
        """Check that the files are there; raise `ValueError` that names path, files and remedy."""

    @property
    def num_channels(self) -> int:
        """The channels of `(channel, height, width)` or `(frame, channel, height, width)`."""
        return self.input_shape[-3]

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """What a network's file keeps: `mean` and `deviation`, to be applied to pixels of 0 to 1; None if not known."""
        known = self.normalise
        return None if known is None else {"mean": known.mean, "deviation": known.deviation}

    def normalise_by(self, normalisation: Normalisation) -> None:
        """Choose the normalisation, after `prepare_data` and before `setup`; raise `ValueError` for an unknown one."""
        if normalisation != Normalisation():
            normalisation.check(self.normalisations, self.num_channels)
        self.normalisation = normalisation

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


def num_held_out(name: str, num_train: int, share: float | None) -> int:
    """Return how many of `num_train` images are the `share` that validates; raise `ValueError` if one side gets none.

    >>> num_held_out("mine", 50, 0.1)
    5
    """
    if share is None:
        raise ValueError(
            f"{name}: there is no validation part; take one from the training part with dataset.validation_share=0.1"
        )
    num = round(num_train * share)
    if not 0 < num < num_train:
        raise ValueError(
            f"{name}: validation_share={share:g} of {num_train} training images are {num}; expected at least one on "
            "both sides: change dataset.validation_share"
        )
    return num
