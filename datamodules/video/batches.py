"""Read clips of a cache as batches: bytes from memory-mapped files, normalised on the device.

The own moments are those of Kinetics-400, as in published networks for videos [Tra18; torchvision's weights].

[Tra18] Tran, Wang, Torresani, Ray, LeCun & Paluri, A closer look at spatiotemporal convolutions for action recognition,
CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Generator, Tensor

from datamodules.batches import Chosen, EpochBatches, to_device
from datamodules.normalise import Normalise
from datamodules.video.cache import open_clip

MEAN, DEVIATION = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)

View = Literal["frames", "clips"]


def own_normalise() -> Normalise:
    """Return the own way: by the moments of Kinetics-400."""
    return Normalise(255.0, *(torch.tensor(moments).reshape(3, 1, 1) for moments in (MEAN, DEVIATION)))


@dataclass(frozen=True)
class Clips:
    """One part of a split: files of a cache, their labels, and the number of frames to which all clips are padded."""

    paths: Sequence[Path]
    labels: Int64[Tensor, " clip"]
    num_frames: int

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: Sequence[int]) -> tuple[UInt8[Tensor, "batch frame 3 height width"], Int64[Tensor, " batch"]]:
        """Read the clips at `index`, padded with zeros, and the number of frames that each has."""
        arrays = [open_clip(self.paths[i]) for i in index]
        batch = torch.empty((len(arrays), self.num_frames, *open_clip(self.paths[0]).shape[1:]), dtype=torch.uint8)
        for row, array in zip(batch.numpy(), arrays, strict=True):
            row[: len(array)] = array
            row[len(array) :] = 0
        return batch, torch.tensor([len(array) for array in arrays], dtype=torch.int64)


class ClipBatches(EpochBatches):
    """An epoch of clips, normalised; each is mirrored with probability 1/2, all frames alike, if `flip` and a `seed`.

    A batch is `(batch, frame, 3, height, width)` for the view "frames", `(batch, 3, frame, height, width)` for "clips".
    Frames after the end of a clip are exactly zero.
    """

    def __init__(
        self,
        data: Clips,
        batch_size: int,
        view: View,
        device: torch.device | str = "cpu",
        seed: int | None = None,
        flip: bool = False,
        normalise: Normalise | None = None,
    ) -> None:
        super().__init__(len(data), batch_size, device, seed)
        self.data = data
        self.view = view
        self.flip = flip
        self.normalise = (normalise or own_normalise()).to(self.device)

    def draw_augmentation(self, generator: Generator) -> Bool[Tensor, " clip"] | None:
        """Draw which clips are mirrored."""
        return torch.randint(2, (len(self.data),), generator=generator).bool() if self.flip else None

    def read(self, batches: Iterable[Chosen]) -> Iterator[tuple[Tensor, Tensor]]:
        """Read, mirror and normalise the clips of each batch."""
        for index, mirrored in batches:
            clips, lengths = self.data.read(index.tolist())
            clips = to_device(clips, self.device)
            if mirrored is not None:
                clips = torch.where(mirrored[:, None, None, None, None], clips.flip(-1), clips)
            yield self._values(clips, lengths), to_device(self.data.labels[index], self.device)

    def _values(
        self, clips: UInt8[Tensor, "batch frame 3 height width"], lengths: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch ..."]:
        values = self.normalise(clips)
        padding = torch.arange(clips.shape[1]) >= lengths[:, None]  # (batch, frame)
        if padding.any():
            values.masked_fill_(to_device(padding, self.device)[:, :, None, None, None], 0.0)
        return values if self.view == "frames" else values.transpose(1, 2).contiguous()
