"""Open coded images: which kinds of pixels are read, and which way is up.

A camera stores what its sensor saw and says in EXIF, tag 274, how to turn or mirror it [CIPA].

[CIPA] CIPA DC-008, Exchangeable image file format for digital still cameras: Exif 2.32, 2019, section 4.6.4 A.
"""

from __future__ import annotations

import functools
import io
import struct
import warnings
import zlib
from typing import Annotated

from annotated_types import Ge, Le
from PIL import Image, UnidentifiedImageError

from runtime.identity import AsBefore

# Those of the endings in listing/rule.py; others run programs (EPS asks Ghostscript) or are none of photographs.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM", "TGA", "JPEG2000")
MAX_PIXELS = 100_000_000  # a few kilobytes can say that they are any number
# Twice that is where Pillow itself refuses. An image of more is left out or refused, as `broken` says.
MaxPixels = Annotated[int, Ge(1), Le(178_956_970), AsBefore(100_000_000)]
# 16-bit and floating-point images have no agreed meaning in eight bits.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
ORIENTATION = 274
TURN = Image.Transpose
TURNS = {
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_270,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_90,
}
LAZY = ("JPEG", "MPO")  # their EXIF comes before the pixels, which may then be decoded at a smaller size


def open_image(content: bytes, upright: bool, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open an image, turned as its EXIF says if `upright`; raise one of `UNREADABLE` for what is none, or too large.

    A JPEG that lies upright is not decoded yet: what is wrong with its pixels is raised when they are used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound follows
            image = Image.open(io.BytesIO(content), formats=_formats())
    except UnidentifiedImageError:
        raise ValueError(f"{len(content)} bytes of no known image format") from None
    if image.width * image.height > max_pixels:  # known before any is decoded
        raise ValueError(
            f"{image.width}×{image.height} pixels; expected at most {max_pixels} in all: make it smaller, or raise "
            "dataset.max_pixels"
        )
    if image.mode not in MODES:
        raise ValueError(f"pixels of kind {image.mode}; convert it to eight bits a channel")
    if not upright:
        return image
    if image.format not in LAZY:
        image.load()  # TIFFs are turned by this, and then say so
    turn = TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def fault_of(content: bytes, max_pixels: int = MAX_PIXELS) -> Exception | None:
    """Return what reading the whole image raises, or None; a JPEG is decoded small, which takes less time."""
    try:
        with open_image(content, upright=False, max_pixels=max_pixels) as image:
            image.draft(None, (1, 1))  # does nothing where there is no DCT
            image.load()
    except UNREADABLE as error:
        return error
    return None


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (*UNREADABLE, TypeError):  # damaged notes on an image that can be read
        return 1
