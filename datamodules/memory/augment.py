"""Random crops, flips and cut-out squares of a whole batch at once, as is usual for small images [He16], [DT17].

Every image is padded with zeros (black, before normalisation, as torchvision's transforms do), a window of the old size
is cut out at random, and half of the windows are mirrored. After normalisation a square of each becomes 0, the mean.

[DT17] DeVries & Taylor, Improved regularization of convolutional neural networks with cutout, arXiv:1708.04552, 2017.
[He16] He, Zhang, Ren & Sun, Deep residual learning for image recognition, CVPR 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Crop by up to `crop_padding` pixels in each direction; mirror left and right with probability 1/2 if `flip`.

    `cutout` is the side of the square in pixels; its centre may be any pixel, so a part of the square may fall outside.
    Differs from [DT17]: an odd side is kept; their program makes it even.
    """

    crop_padding: int
    flip: bool
    cutout: int = 0

    def __bool__(self) -> bool:
        """Return whether it changes anything."""
        return bool(self.crop_padding or self.flip or self.cutout)

    def fit(self, height: int, width: int) -> None:
        """Raise `ValueError` if a crop or a square could hide a whole image of this size."""
        for name, value in (("crop_padding", self.crop_padding), ("cutout", self.cutout)):
            if value >= min(height, width):
                raise ValueError(
                    f"dataset.{name}={value}: expected less than a side of the images of {height}×{width} pixels"
                )

    def draw(self, num: int, size: tuple[int, int], generator: Generator) -> Int64[Tensor, "sample draw"]:
        """Draw the augmentation of `num` images of `size`, (height, width).

        They are the window's first row and column, from 0, whether it is mirrored, and then the row and column of the
        square's centre, if there is a square: the first three are the same with and without it.
        """
        corners = torch.randint(2 * self.crop_padding + 1, (num, 2), generator=generator)
        mirrored = torch.randint(2 if self.flip else 1, (num, 1), generator=generator)
        centres = [torch.randint(side, (num, 1), generator=generator) for side in size] if self.cutout else []
        return torch.cat([corners, mirrored, *centres], dim=1)

    def __call__(
        self, images: UInt8[Tensor, "sample channel height width"], draws: Int64[Tensor, "sample draw"]
    ) -> UInt8[Tensor, "sample channel height width"]:
        """Crop and mirror each image by its `draws`."""
        num, channels, height, width = images.shape
        top, left, mirrored = draws[:, :3].unbind(dim=1)
        left = torch.where(mirrored.bool(), 2 * self.crop_padding - left, left)  # counted in the mirrored image
        sides = torch.stack([images, images.flip(3)], dim=1) if self.flip else images[:, None]
        padded = functional.pad(sides, [self.crop_padding] * 4)  # (sample, side, channel, row, column)
        # A row of a window is `width` bytes on end: finding rows is several times faster than finding pixels.
        _, num_sides, _, num_rows, num_columns = padded.shape
        place = torch.arange(num, device=images.device) * num_sides + mirrored  # (sample)
        plane = place[:, None] * channels + torch.arange(channels, device=images.device)  # (sample, channel)
        row = plane[:, :, None] * num_rows + top[:, None, None] + torch.arange(height, device=images.device)
        start = row * num_columns + left[:, None, None]  # (sample, channel, height)
        runs = padded.view(-1).unfold(0, width, 1)  # a view of all runs of `width` bytes
        return runs.index_select(0, start.flatten()).view(num, channels, height, width)

    def cut_out(
        self, values: Float[Tensor, "sample channel height width"], draws: Int64[Tensor, "sample draw"]
    ) -> Float[Tensor, "sample channel height width"]:
        """Set the squares of normalised images to 0, in place; return the images."""
        if not self.cutout:
            return values
        row, column = (
            _within(draws[:, axis], size, self.cutout) for axis, size in zip((3, 4), values.shape[2:], strict=True)
        )
        return values.masked_fill_((row[:, :, None] & column[:, None, :])[:, None], 0.0)


def _within(centre: Int64[Tensor, " sample"], size: int, side: int) -> Tensor:
    """Mark which of `size` places lie in the interval of `side` places around each centre: (sample, size)."""
    distance = torch.arange(size, device=centre.device) - (centre[:, None] - side // 2)
    return (distance >= 0) & (distance < side)
