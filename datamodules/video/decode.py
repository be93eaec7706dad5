"""Decode video files to arrays of bytes with PyAV (FFmpeg): chosen frames at a chosen size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from runtime.messages import one_line

if TYPE_CHECKING:
    import av

# Raise it when the same files decode to other bytes than before: then caches of the old bytes are not read.
VERSION = 1
# A header may count a few dropped frames too; a file that was cut lacks more than those.
SHARE_OF_PROMISED_FRAMES = 0.9


@dataclass(frozen=True)
class Frames:
    """The frames to keep and their size in pixels: `num_frames` evenly spaced over the clip, or all if that is None."""

    num_frames: int | None
    height: int
    width: int

    def __str__(self) -> str:
        """Return the words of a written split."""
        return f"{'all' if self.num_frames is None else self.num_frames} frames of {self.height}×{self.width}"

    @property
    def folder(self) -> str:
        """The name of a folder; it holds all that the decoded bytes depend on beside their source."""
        return f"{'all' if self.num_frames is None else self.num_frames}_frames_{self.height}x{self.width}_v{VERSION}"

    def chosen(self, num: int) -> list[int]:
        """Return the places of the kept frames among `num`: the middles of equal pieces, some twice in a short clip."""
        if self.num_frames is None:
            return list(range(num))
        return [(2 * piece + 1) * num // (2 * self.num_frames) for piece in range(self.num_frames)]

    def fits(self, array: np.ndarray) -> bool:
        """Return whether `array` can be a clip that was decoded to these frames."""
        size = len(array) if array.ndim == 4 and self.num_frames is None else self.num_frames
        return array.dtype == np.uint8 and array.shape == (size, 3, self.height, self.width) and array.size > 0


class BrokenClip(Exception):
    """A file is no readable video; the message says why."""


def decode(path: Path, frames: Frames) -> UInt8[np.ndarray, "frame 3 height width"]:
    """Decode the chosen frames of a file to red, green and blue, on one thread.

    Raises `BrokenClip` if the file is no video, if decoding stops with an error, if no whole frame comes out, or if the
    header counts over a tenth more frames than come out and they end that much too early. A header may count the gaps
    between uneven frames: then fewer come out, but the last one where it says; they are taken as they come. Frames that
    FFmpeg calls corrupt (as the last one of a file that was cut) are left out. MPEG-1 and WebM count no frames: such a
    file that was cut is a shorter clip, not a broken one.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BrokenClip("it holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            decoded = list(container.decode(stream))
            whole = [frame for frame in decoded if not frame.is_corrupt]
            promised = stream.frames  # 0 where the format does not count them
            reached = _place_of_end(whole, stream) if len(whole) == len(decoded) else len(whole)
            if not whole or max(len(whole), reached) < SHARE_OF_PROMISED_FRAMES * promised:
                raise BrokenClip(f"{len(whole)} whole frames" + (f" of {promised}" if promised else ""))
            kept = np.empty((len(frames.chosen(len(whole))), 3, frames.height, frames.width), np.uint8)
            for place, index in enumerate(frames.chosen(len(whole))):
                pixels = whole[index].to_ndarray(
                    format="rgb24", width=frames.width, height=frames.height, interpolation="BILINEAR", threads=1
                )
                kept[place] = pixels.transpose(2, 0, 1)  # (3, height, width)
            return kept
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise BrokenClip(reason) from None


def _place_of_end(frames: list[av.VideoFrame], stream: av.VideoStream) -> float:
    """Return where the last frame ends, in frames of the header's rate: their number if they follow without gaps."""
    first, last = (frames[place].pts if frames else None for place in (0, -1))
    if first is None or last is None or not stream.average_rate or not stream.time_base:
        return len(frames)
    return float((last - first) * stream.time_base * stream.average_rate) + 1
