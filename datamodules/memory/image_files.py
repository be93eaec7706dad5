"""Decode all images of a folder or an archive into arrays of one size; datamodules/listing says which there are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from datamodules.broken import Broken, check_classes, refuse_or_skip
from datamodules.image_file import MAX_PIXELS, UNREADABLE, open_image
from datamodules.listing.compressed_tar import MAX_UNPACKED_GIB
from datamodules.listing.image_index import ImageIndex
from datamodules.listing.image_parts import find_parts


@dataclass(frozen=True)
class DecodedPart:
    """The readable images of one part, sorted by class and name; `places` are theirs among all `num_listed`."""

    images: UInt8[np.ndarray, "sample channel height width"]
    labels: Int64[np.ndarray, " sample"]
    places: Int64[np.ndarray, " sample"]
    num_listed: int


@dataclass(frozen=True)
class DecodedImages:
    """The parts and the sorted `classes`, in which a label is a place; `validation` is None if there is none."""

    classes: tuple[str, ...]
    train: DecodedPart
    validation: DecodedPart | None
    test: DecodedPart


@functools.lru_cache(maxsize=1)  # the points of a sweep share what was decoded
def read_images(
    root: Path,
    stamp: int,
    channels: int,
    size: int | None,
    subset_per_class: int | None,
    takes_validation: bool = False,
    broken: Broken = "fail",
    max_pixels: int = MAX_PIXELS,
    max_unpacked_gib: float = MAX_UNPACKED_GIB,
) -> DecodedImages:
    """Decode the images below `root` to 1 or 3 `channels`, resized to `size × size` unless that is None.

    `stamp` is the time of `root`'s last change, so that changed images are read anew. Of each class the first
    `subset_per_class` by name are read; None reads all. Images of more than `max_pixels` are
    unreadable. Raises `ValueError` that names what is missing, empty, unreadable (unless `broken` is "skip") or of
    another size, and an archive that unpacks to more than `max_unpacked_gib`.
    """
    found = find_parts(root, takes_validation, in_place=False, max_gib=max_unpacked_gib)
    first: list[tuple[str, tuple[int, ...]]] = []  # the name and the shape that all others must have
    decoded = {}
    for name, part in (("train", found.train), ("validation", found.validation), ("test", found.test)):
        if part is not None:
            part = part.subset(None, subset_per_class).unpacked(max_unpacked_gib)
            decoded[name] = _decode_part(
                part, partial(_decode, channels=channels, size=size, max_pixels=max_pixels), broken, first
            )
    check_classes(str(root), found.classes, {name: part.labels for name, part in decoded.items()})
    return DecodedImages(found.classes, decoded["train"], decoded.get("validation"), decoded["test"])


def _decode_part(
    part: ImageIndex,
    decode: Callable[[bytes], UInt8[np.ndarray, "c h w"]],
    broken: Broken,
    first: list[tuple[str, tuple[int, ...]]],
) -> DecodedPart:
    images = np.empty(0, np.uint8)
    places: list[int] = []
    for index in range(len(part)):
        try:
            image = decode(part.read(index))
        except UNREADABLE as error:
            refuse_or_skip(part.place(index), error, broken)
            continue
        if not first:
            first.append((part.place(index), image.shape))
        name, expected = first[0]
        if image.shape != expected:
            raise ValueError(
                f"{part.place(index)} has {_pixels(image.shape)} pixels and {name} has {_pixels(expected)}; give all "
                "one size, or resize them with dataset.size=32"
            )
        if not places:
            images = np.empty((len(part), *expected), np.uint8)
        images[len(places)] = image
        places.append(index)
    kept = np.array(places, np.int64)
    return DecodedPart(images[: len(kept)], part.labels[kept], kept, len(part))


def _decode(content: bytes, channels: int, size: int | None, max_pixels: int) -> UInt8[np.ndarray, "c h w"]:
    with open_image(content, upright=True, max_pixels=max_pixels) as image:
        pixels = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        pixels = pixels.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(pixels).reshape(*reversed(pixels.size), channels).transpose(2, 0, 1)


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[2]}"
