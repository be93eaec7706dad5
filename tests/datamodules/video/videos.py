"""Small real video files in UCF11's formats, and a decoder of them that shares nothing with ours but FFmpeg."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CODECS = {".mpg": "mpeg1video", ".mpeg": "mpeg2video", ".avi": "msmpeg4v2", ".webm": "libvpx"}
CODECS |= {".mp4": "mpeg4", ".mov": "mpeg4"}
# The folders and words of three official classes: they differ.
WORDS = {"basketball": "shooting", "biking": "biking", "soccer_juggling": "juggle"}


def picture(num: int, seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth frames, (num, height, width, 3); each is lighter than the one before."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(seed)
    base = np.stack([rng.uniform(20, 60) + y, rng.uniform(20, 60) + x, rng.uniform(20, 60) + 0 * x], axis=2)
    return np.stack([base + 100 * index / num for index in range(num)]).astype(np.uint8)


def write_video(path: Path, frames: np.ndarray, codec: str | None = None, times: Sequence[int] | None = None) -> None:
    """Write `frames` at 25 a second, or each at its place in `times`, counted in 25ths of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec or CODECS[path.suffix], rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        stream.codec_context.time_base = Fraction(1, 25)
        for time, pixels in zip(times or range(len(frames)), frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_video(path: Path) -> np.ndarray:
    """All frames of a file at their own size, (num, height, width, 3), one packet after another."""
    frames = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            frames += [np.asarray(frame.to_image()) for frame in packet.decode()]
    return np.stack(frames)


def write_tree(
    root: Path, groups: range = range(1, 6), clips: int = 2, ending: str = ".mpg", folder: str = "UCF11_updated_mpg"
) -> Path:
    """Three classes in the official tree; a clip of group g has 8 + g frames."""
    for label, (name, word) in enumerate(WORDS.items()):
        for group in groups:
            for clip in range(1, clips + 1):
                path = root / folder / name / f"v_{word}_{group:02}" / f"v_{word}_{group:02}_{clip:02}{ending}"
                write_video(path, picture(8 + group, seed=100 * label + 10 * group + clip))
        (root / folder / name / "Annotation").mkdir(exist_ok=True)
        (root / folder / name / "Annotation" / f"v_{word}_01_01.mpg").write_bytes(b"not a clip")
    return root / folder
