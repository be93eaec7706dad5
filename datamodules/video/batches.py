"""Clips of a cache as normalised batches: bytes are read from mapped files and become numbers on the device.

Normalised with the moments of Kinetics-400, as published networks for videos are [Tra18; torchvision's weights].

[Tra18] Tran, Wang, Torresani, Ray, LeCun & Paluri, A closer look at spatiotemporal convolutions for action recognition,
CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from datamodules.data import epoch_generator, share_of
from datamodules.normalise import Normalise
from datamodules.video.cache import open_clip

MEAN, DEVIATION = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)

View = Literal["frames", "clips"]


@dataclass(frozen=True)
class Clips:
    """One part of a split: files of a cache, their labels, and the number of frames to which all are padded."""

    paths: Sequence[Path]
    labels: Int64[Tensor, " clip"]
    num_frames: int

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: Sequence[int]) -> tuple[UInt8[Tensor, "batch frame 3 height width"], Int64[Tensor, " batch"]]:
        """The clips at `index`, zeros after their ends, and the number of frames that each has."""
        arrays = [open_clip(self.paths[place]) for place in index]
        batch = torch.empty((len(arrays), self.num_frames, *open_clip(self.paths[0]).shape[1:]), dtype=torch.uint8)
        for row, array in zip(batch.numpy(), arrays, strict=True):
            row[: len(array)] = array
            row[len(array) :] = 0
        return batch, torch.tensor([len(array) for array in arrays], dtype=torch.int64)


class ClipBatches:
    """An epoch of normalised batches on `device`; shuffled if a `seed` is given.

    A batch is `(batch, frame, 3, height, width)` for the view "frames", `(batch, 3, frame, height, width)` for "clips".
    Frames after the end of a clip are exactly zero. `epoch` chooses the order and, if `flip` is true, which half of the
    clips is mirrored, all frames of a clip alike.
    """

    def __init__(
        self,
        data: Clips,
        batch_size: int,
        view: View,
        device: torch.device | str = "cpu",
        seed: int | None = None,
        flip: bool = False,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.view = view
        self.device = torch.device(device)
        mean, deviation = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, DEVIATION))
        self.normalise = Normalise(255.0, mean, deviation).to(self.device)
        self.seed = seed
        self.flip = flip
        self.epoch = 0
        self.share = slice(None)

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        num = len(self.data)
        order, mirrored = torch.arange(num), torch.zeros(num, dtype=torch.bool)
        if self.seed is not None:
            generator = epoch_generator(self.seed, self.epoch)
            order = torch.randperm(num, generator=generator)
            if self.flip:
                mirrored = torch.randint(2, (num,), generator=generator).bool()
        for places in torch.arange(num).split(self.batch_size):
            places = share_of(places, self.share, self.seed is not None)
            index = order[places]
            clips, lengths = self.data.read(index.tolist())
            clips, chosen = clips.to(self.device), mirrored[places].to(self.device)
            if chosen.any():
                clips[chosen] = clips[chosen].flip(-1)
            yield self._values(clips, lengths), self.data.labels[index].to(self.device)

    def _values(
        self, clips: UInt8[Tensor, "batch frame 3 height width"], lengths: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch ..."]:
        values = self.normalise(clips)
        padding = torch.arange(clips.shape[1]) >= lengths[:, None]  # (batch, frame)
        if padding.any():
            values[padding.to(self.device)] = 0
        return values if self.view == "frames" else values.transpose(1, 2).contiguous()
