"""Eleven motions of real handwritten digits [AK98], as MPEG-1 files in UCF11's tree: a small stand-in for UCF11.

A digit of random angle, at a random place of a grid, stands still, moves in one of eight directions, or turns in one of
two; what leaves on one side comes in on the other. So single frames look alike in all classes: only the motion tells
them apart. The digits of a group are in no other group.

[AK98] Alpaydin & Kaynak, Optical recognition of handwritten digits, UCI machine learning repository, 1998.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float, UInt8

from datamodules.video.batches import View
from datamodules.video.ucf11 import UCF11
from datamodules.video.ucf11_files import FOLDERS
from datamodules.video.ucf11_split import Protocol
from runtime.atomic import atomic_write
from runtime.identity import NotIdentity

# Pixels to the right and down, and degrees clockwise, per frame.
MOTIONS = {
    "still": (0, 0, 0),
    "right": (4, 0, 0),
    "left": (-4, 0, 0),
    "down": (0, 4, 0),
    "up": (0, -4, 0),
    "right_down": (4, 4, 0),
    "right_up": (4, -4, 0),
    "left_down": (-4, 4, 0),
    "left_up": (-4, -4, 0),
    "clockwise": (0, 0, 6),
    "anticlockwise": (0, 0, -6),
}
NUM_GROUPS, NUM_CLIPS, NUM_FRAMES = 25, 3, 24  # of the data, of a group, of a clip
HEIGHT, WIDTH, DIGIT_SIZE, GRID = 48, 64, 24, 16
GREY = 102  # as videos are on average; black would be far from zero when it is normalised
FRAMES_PER_SECOND = 25  # MPEG-1 knows a few rates only


class MovingDigits(UCF11):
    """825 clips of 24 frames, written below `root` when they are first needed; the options are those of `UCF11`.

    There is no `flip`: a mirrored motion is another class. With fewer than 6 frames, opposite motions look alike.
    """

    name = "moving digits"
    remedy = "delete it, and it is written again"

    def __init__(
        self,
        root: Annotated[str, NotIdentity()],
        view: View = "frames",
        num_frames: Annotated[int, Ge(1)] | None = 6,
        height: Annotated[int, Ge(1)] = HEIGHT,
        width: Annotated[int, Ge(1)] = WIDTH,
        protocol: Protocol = "group_split",
        fold: Annotated[int, Ge(0), Le(4)] | None = None,
        cache: Annotated[str | None, NotIdentity()] = None,
        num_workers: Annotated[int, Ge(0), NotIdentity()] = 0,
    ) -> None:
        super().__init__(root, view, num_frames, height, width, protocol, fold, cache=cache, num_workers=num_workers)

    def prepare_data(self) -> None:
        """Write the clips that are not there yet; then prepare them as UCF11 does."""
        try:
            write_files(self.root / FOLDERS[0])
        except OSError as error:
            raise ValueError(
                f"{self.root}: the clips cannot be written there ({error.strerror or error}); set dataset.root to a "
                "folder that can be written and has room"
            ) from None
        super().prepare_data()


def write_files(tree: Path) -> None:
    """Write the clips that are missing below `tree`, each whole or not at all; raise `OSError` where that fails."""
    missing = [each for each in _files() if not (tree / each[0]).is_file()]
    if not missing:
        return
    from sklearn.datasets import load_digits

    digits = load_digits().images[np.random.default_rng(0).permutation(1797)]  # (1797, 8, 8), values 0 to 16
    for path, seed in missing:
        label, group, _ = seed
        rng = np.random.default_rng(seed)
        # Every 25th digit belongs to a group, the same ones in every class.
        digit = digits[(group - 1) + NUM_GROUPS * rng.integers(len(digits) // NUM_GROUPS)]
        frames = draw(digit, list(MOTIONS.values())[label], rng)
        with atomic_write(tree / path) as temporary:
            encode(frames, temporary)


def _files() -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield each clip's path below the tree, and its class, group and number."""
    for label, name in enumerate(MOTIONS):
        for group in range(1, NUM_GROUPS + 1):
            for clip in range(1, NUM_CLIPS + 1):
                yield f"{name}/v_{name}_{group:02}/v_{name}_{group:02}_{clip:02}.mpg", (label, group, clip)


def draw(
    digit: Float[np.ndarray, "8 8"], motion: tuple[int, int, int], rng: np.random.Generator
) -> UInt8[np.ndarray, "frame height width 3"]:
    """Draw the frames of an enlarged digit that moves over grey, from a random place and angle.

    `motion` is in pixels to the right, pixels down and degrees clockwise, per frame.
    """
    from PIL import Image

    right, down, degrees = motion
    light = Image.fromarray((GREY + digit * ((255 - GREY) / 16)).astype(np.uint8))
    large = light.resize((DIGIT_SIZE,) * 2, Image.Resampling.BICUBIC)
    left, top = GRID * rng.integers(WIDTH // GRID), GRID * rng.integers(HEIGHT // GRID)
    angle = rng.uniform(0, 360)
    frames = np.full((NUM_FRAMES, HEIGHT, WIDTH, 3), GREY, np.uint8)
    for time in range(NUM_FRAMES):
        anticlockwise = angle - degrees * time
        turned = large.rotate(anticlockwise, Image.Resampling.BILINEAR, fillcolor=GREY)
        frames[time, :DIGIT_SIZE, :DIGIT_SIZE] = np.asarray(turned)[:, :, None]
        frames[time] = np.roll(frames[time], (top + down * time, left + right * time), axis=(0, 1))
    return frames


def encode(frames: UInt8[np.ndarray, "frame height width 3"], path: Path) -> None:
    """Write an MPEG-1 file, whatever the ending of its name."""
    import av

    with av.open(str(path), "w", format="mpeg") as container:
        stream = container.add_stream("mpeg1video", rate=FRAMES_PER_SECOND)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 1_000_000
        stream.thread_type = "NONE"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
