"""Reading images of ImageNet's kind: this suite's batches against torchvision's loader of its reference training.

    python -m benchmarks.imagenet [--rounds 5] [--num-images 384] [--num-workers 2]

Data: JPEG files of 500×375 pixels, about 110 kB each, made here. One turn is an epoch of normalised batches of 64 on
the CPU, from processes that stay; on both sides there are as many. The peer is the pipeline of torchvision's
references/classification: ImageFolder, RandomResizedCrop(224), a flip, PILToTensor, ConvertImageDtype, Normalize.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.ratios import medians, report
from datamodules.streamed.folder import StreamedFolder
from datamodules.streamed.images import DEVIATION, MEAN, num_cores

BATCH_SIZE, NUM_CLASSES = 64, 4


def write_images(folder: Path, num: int) -> float:
    """`num` pictures, coarse shapes with fine grain on them; returns their mean size in kB."""
    generator = np.random.default_rng(0)
    for index in range(num):
        coarse = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        shapes = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC), np.int16)
        grain = generator.normal(0, 16, (375, 500, 1))
        path = folder / f"class{index % NUM_CLASSES}" / f"{index:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(shapes + grain, 0, 255).astype(np.uint8)).save(path, quality=90)
    return sum(path.stat().st_size for path in folder.glob("*/*")) / num / 1000


def main() -> None:
    """Print the time of an epoch of both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--num-images", type=int, default=384)
    parser.add_argument("--num-workers", type=int, default=num_cores())
    options = parser.parse_args()
    torch.set_num_threads(1)  # the cores are for the processes that decode
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        kilobytes = write_images(root / "train", options.num_images)
        for part in ("val", "test"):
            write_images(root / part, NUM_CLASSES)
        data = StreamedFolder(name, "random", validation_share=None, num_workers=options.num_workers)
        data.setup()
        ours = data.train_batches(BATCH_SIZE, seed=0)
        reference = transforms.Compose(
            [
                transforms.RandomResizedCrop(224, antialias=True),
                transforms.RandomHorizontalFlip(),
                transforms.PILToTensor(),
                transforms.ConvertImageDtype(torch.float),
                transforms.Normalize(MEAN, DEVIATION),
            ]
        )
        peer = DataLoader(
            ImageFolder(name + "/train", reference),
            BATCH_SIZE,
            shuffle=True,
            num_workers=options.num_workers,
            persistent_workers=options.num_workers > 0,
        )

        def read_ours() -> None:
            ours.epoch += 1
            assert sum(len(labels) for _, labels in ours) == options.num_images

        def read_peer() -> None:
            assert sum(len(labels) for _, labels in peer) == options.num_images

        times = medians({"ours": read_ours, "torchvision": read_peer}, options.rounds)
        each = {side: options.num_images / seconds for side, seconds in times.items()}
        what = f"{options.num_images} images of {kilobytes:.0f} kB, {options.num_workers} processes"
        report(f"epoch of {what}, against torchvision", times["ours"], times["torchvision"], "goal <= 1")
        print(f"images a second: {each['ours']:.0f} against {each['torchvision']:.0f}")


if __name__ == "__main__":
    main()
