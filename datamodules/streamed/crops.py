"""Decode an image and cut a random window out of it to train on, or its centre to evaluate on.

The window is that of [Sze15], as torchvision draws it: 8 % (or `min_area`) to 100 % of the area, 3/4 to 4/3 as wide as
high, ten tries, then the largest centred one. Differs from torchvision: where the window is at least twice as large as
what is cut from it, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which its DCT gives for less work, and resized
from there. Windows that are smaller, and all of evaluation, have torchvision's pixels.

[Sze15] Szegedy, Liu, Jia et al., Going deeper with convolutions, CVPR 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from datamodules.image_file import MAX_PIXELS, open_image

RATIO = (3 / 4, 4 / 3)
NUM_TRIES = 10
SHRINKAGES = (8, 4, 2)  # what the DCT can be scaled by


@dataclass(frozen=True)
class Crops:
    """Cut `size × size` pixels out of an image.

    A random window covers at least `min_area` (0 to 1) of the image and is mirrored with probability 1/2 if `flip`. The
    centre is cut after the shorter side has become `resize` pixels. Images are turned as their EXIF says if `upright`;
    torchvision leaves them as they are stored. One of more than `max_pixels` is not decoded.
    """

    size: int
    resize: int
    min_area: float
    flip: bool
    upright: bool = False
    max_pixels: int = MAX_PIXELS

    def random(self, content: bytes, generator: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
        """Cut a random window; raise what Pillow raises, or `ValueError`, for bytes that are no image."""
        with open_image(content, self.upright, self.max_pixels) as image:
            width, height = image.size
            left, top, across, down = draw_window(width, height, self.min_area, generator)
            fits = [s for s in SHRINKAGES if min(across, down) >= s * self.size]
            if fits:
                image.draft(None, (width // fits[0], height // fits[0]))  # does nothing where there is no DCT
            shrinkage = fits[0] if image.size != (width, height) else 1
            box = [edge / shrinkage for edge in (left, top, left + across, top + down)]
            # Whole pixels first: resizing alone would look at those beside the window.
            first = math.floor(box[0]), math.floor(box[1])
            window = _coloured(image.crop((*first, math.ceil(box[2]), math.ceil(box[3]))))
            inside = (box[0] - first[0], box[1] - first[1], box[2] - first[0], box[3] - first[1])
            pixels = np.asarray(window.resize((self.size, self.size), Image.Resampling.BILINEAR, inside))
        return pixels[:, ::-1] if self.flip and generator.random() < 0.5 else pixels

    def centre(self, content: bytes) -> UInt8[np.ndarray, "size size 3"]:
        """Cut the centre, as torchvision's Resize and CenterCrop do; raise as `random` does."""
        with open_image(content, self.upright, self.max_pixels) as image:
            whole = _coloured(image)
            width, height = (int(self.resize * side / min(image.size)) for side in image.size)
            left, top = round((width - self.size) / 2), round((height - self.size) / 2)
            resized = whole.resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(resized.crop((left, top, left + self.size, top + self.size)))


def draw_window(width: int, height: int, min_area: float, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw the left, top, width and height in pixels of a random window.

    Its share of the area is uniform in `(min_area, 1)`, the logarithm of width / height in `log RATIO`, then its place.
    """
    for _ in range(NUM_TRIES):
        area = width * height * generator.uniform(min_area, 1)
        ratio = math.exp(generator.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = generator.integers(width - across + 1), generator.integers(height - down + 1)
            return int(left), int(top), across, down
    across = min(width, round(height * RATIO[1]))
    down = min(height, round(width / RATIO[0]))
    return (width - across) // 2, (height - down) // 2, across, down


def _coloured(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")
