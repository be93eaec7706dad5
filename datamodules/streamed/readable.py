"""Decode every image of a part once, before anything trains, to find those that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import DataLoader, Dataset

from datamodules.broken import Broken, refuse_or_skip
from datamodules.image_file import MAX_PIXELS, UNREADABLE, fault_of
from datamodules.listing.image_index import ImageIndex
from datamodules.streamed.decoders import quiet
from runtime.console import bar
from runtime.digest import digest_bytes
from runtime.messages import one_line

CHUNK = 64  # images that a process checks before it reports
# What was found, so that the points of a sweep check the same files once.
_FOUND: dict[tuple[str, Broken, int], Int64[np.ndarray, " readable"]] = {}


class Check(Dataset[str]):
    """Answer the place of an image with what is wrong with it, or ""."""

    def __init__(self, part: ImageIndex, max_pixels: int) -> None:
        self.part = part
        self.max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> str:
        try:
            fault = fault_of(self.part.read(index), self.max_pixels)
        except UNREADABLE as error:
            fault = error
        return "" if fault is None else one_line(fault)


def readable(part: ImageIndex, num_workers: int, broken: Broken, max_pixels: int = MAX_PIXELS) -> ImageIndex:
    """Return `part` without the images that cannot be read, each of which is named; `num_workers` processes decode.

    Raises `ValueError` that names the first of them if `broken` is "fail".
    """
    digest = digest_bytes([*part.names.tolist(), part.offsets.tobytes(), part.sizes.tobytes()])
    key = f"{part.container} {digest}", broken, max_pixels
    if key not in _FOUND:
        places = []
        with bar(f"checking {len(part)} images", len(part)) as advance:
            for index, fault in enumerate(_faults(part, num_workers, max_pixels)):
                if fault:
                    refuse_or_skip(part.place(index), fault, broken)
                else:
                    places.append(index)
                advance("")
        _FOUND[key] = np.array(places, np.int64)
    return part.take(_FOUND[key])


def _faults(part: ImageIndex, num_workers: int, max_pixels: int) -> Iterator[str]:
    loader = DataLoader(
        Check(part, max_pixels),
        batch_size=CHUNK,
        num_workers=min(num_workers, -(-len(part) // CHUNK)),
        collate_fn=list,
        worker_init_fn=quiet,
        generator=torch.Generator(),  # the global one is left alone
    )
    for faults in loader:
        yield from faults
