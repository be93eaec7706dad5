"""Random crops and flips of a whole batch at once, as is usual for small RGB images [He16].

Every image is padded with zeros (black, before normalisation, as torchvision's transforms do), a window of the old size
is cut out anywhere, and half of the windows are mirrored.

[He16] He, Zhang, Ren & Sun, Deep residual learning for image recognition, CVPR 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Generator, Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Crop by up to `crop_padding` pixels in each direction; mirror left and right with probability 1/2 if `flip`."""

    crop_padding: int
    flip: bool

    def draw(self, num: int, generator: Generator) -> Int64[Tensor, "sample 3"]:
        """Choose the moves of `num` images: the window's first row and column, from 0, and whether it is mirrored."""
        corners = torch.randint(2 * self.crop_padding + 1, (num, 2), generator=generator)
        mirrored = torch.randint(2 if self.flip else 1, (num, 1), generator=generator)
        return torch.cat([corners, mirrored], dim=1)

    def __call__(
        self, images: UInt8[Tensor, "sample channel height width"], moves: Int64[Tensor, "sample 3"]
    ) -> UInt8[Tensor, "sample channel height width"]:
        """Move each image as drawn."""
        height, width = images.shape[2:]
        top, left, mirrored = moves.unbind(dim=1)
        padded = functional.pad(images, [self.crop_padding] * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view of all: (b, c, top, left, height, width)
        cut = windows[torch.arange(len(images), device=images.device), :, top, left]
        chosen = mirrored.nonzero().squeeze(1)
        cut[chosen] = cut[chosen].flip(3)
        return cut
