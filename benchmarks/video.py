"""Time an epoch of batches from the cache against decoding the same files each time.

    python -m benchmarks.video [--rounds 3] [--clips 24] [--frames 120]

Generated MPEG-1 clips of 320×240, as those of UCF11; six frames of 120×160 are kept of each. Both sides make the same
normalised batches. The cache is read from memory after the first turn, as it is in every epoch but the first if it fits
there; the files too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.ratios import medians, report
from datamodules.normalise import Normalise
from datamodules.video.batches import DEVIATION, MEAN, ClipBatches, Clips
from datamodules.video.cache import fill_cache
from datamodules.video.decode import Frames, decode
from datamodules.video.moving_digits import encode

BATCH_SIZE = 16


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=120)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    kept = Frames(6, 120, 160)
    with tempfile.TemporaryDirectory() as folder:
        sources = {f"clip_{index}": Path(folder) / f"clip_{index}.mpg" for index in range(arguments.clips)}
        for path in sources.values():
            # Coarse random pictures that move: much like a video to a decoder.
            picture = rng.integers(0, 256, (15, 20, 3), np.uint8).repeat(16, 0).repeat(16, 1)  # (240, 320, 3)
            encode(np.stack([np.roll(picture, 2 * time, axis=1) for time in range(arguments.frames)]), path)
        paths = list(fill_cache(sources, Path(folder) / "cache", kept, "fail").values())
        labels = torch.zeros(len(paths), dtype=torch.int64)
        batches = ClipBatches(Clips(paths, labels, 6), BATCH_SIZE, "frames", seed=0)
        normalise = Normalise(255.0, *(torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, DEVIATION)))

        def decoding() -> None:
            order, files = torch.randperm(len(sources)), list(sources.values())
            for index in order.split(BATCH_SIZE):
                clips = [torch.from_numpy(decode(files[place], kept)) for place in index.tolist()]
                normalise(torch.stack(clips))

        times = medians({"cache": lambda: list(map(len, batches)), "decoding": decoding}, arguments.rounds)
    report("epoch of clips, cache against decoding", times["cache"], times["decoding"], "goal <= 0.05")
    print(f"the cache is {times['decoding'] / times['cache']:.0f} times faster (goal >= 20)")


if __name__ == "__main__":
    main()
