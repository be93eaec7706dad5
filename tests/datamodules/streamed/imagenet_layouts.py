"""ILSVRC2012 in small: its three official files, as folders, and as they lie when they were extracted."""

from __future__ import annotations

import io
import shutil
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from datamodules.streamed.imagenet import ImageNet
from tests.datamodules.refusals import refusal

WNIDS = ("n01440764", "n01443537", "n02102040")
# As in the official kit, the numbers of the classes do not follow their WordNet ids.
NUMBERS = {"n01440764": 3, "n01443537": 1, "n02102040": 2}
NUM_TRAIN, NUM_VAL = 8, 9
DEVKIT = "ILSVRC2012_devkit_t12"


def jpeg(seed: int, size: tuple[int, int] = (50, 40), mode: str = "RGB", kind: str = "jpeg") -> bytes:
    """A smooth random picture: noise would hide how it was resized."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode).save(content, kind, quality=90)
    return content.getvalue()


def devkit_files(numbers: list[int], folder: Path) -> None:
    """`meta.mat` with its real fields, inner nodes of the tree of classes included, and the ground truth."""
    text = [("words", object), ("gloss", object)]
    fields = [("ILSVRC2012_ID", object), ("WNID", object), *text, ("num_children", object), ("children", object)]
    fields += [("wordnet_height", object), ("num_train_images", object)]
    synsets = np.empty((5, 1), fields)
    entries = [(number, wnid, 0) for wnid, number in NUMBERS.items()]
    entries += [(4, "n00001740", 2), (5, "n00001930", 3)]
    for row, (number, wnid, children) in zip(synsets, sorted(entries), strict=True):
        inner = np.arange(1.0, children + 1)
        row[0] = (float(number), wnid, "a, b", "a thing", float(children), inner, 1.0, float(NUM_TRAIN))
    (folder / "data").mkdir(parents=True)
    savemat(folder / "data" / "meta.mat", {"synsets": synsets})
    truth = folder / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("".join(f"{number}\n" for number in numbers))


def val_wnids() -> list[str]:
    return [WNIDS[index] for index in np.random.default_rng(7).permutation(NUM_VAL) % 3]


def write_official(root: Path) -> Path:
    """The three official files."""
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as outer:
        for label, wnid in enumerate(reversed(WNIDS)):
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as inner:
                for number in (10, 2, 33, 4, 50, 6, 77, 8):  # neither sorted nor without gaps
                    add(inner, f"{wnid}_{number}.JPEG", jpeg(100 * label + number))
            add(outer, f"{wnid}.tar", packed.getvalue())
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in reversed(range(1, NUM_VAL + 1)):
            add(archive, f"ILSVRC2012_val_{number:08}.JPEG", jpeg(1000 + number))
    devkit_files([NUMBERS[wnid] for wnid in val_wnids()], root / DEVKIT)
    with tarfile.open(root / f"{DEVKIT}.tar.gz", "w:gz") as archive:
        archive.add(root / DEVKIT, DEVKIT)
    shutil.rmtree(root / DEVKIT)
    return root


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def extract(official: Path, root: Path) -> Path:
    """The same images, extracted and sorted into folders, without a kit."""
    with tarfile.open(official / "ILSVRC2012_img_train.tar") as outer:
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                inner.extractall(root / "train" / member.name[:9], filter="data")
    with tarfile.open(official / "ILSVRC2012_img_val.tar") as archive:
        for wnid, name in zip(val_wnids(), sorted(archive.getnames()), strict=True):
            archive.extract(name, root / "val" / wnid, filter="data")
    return root


def flatten(tree: Path, official: Path) -> Path:
    """Validation images as `tar x` leaves them, and the kit extracted."""
    for path in [*(tree / "val").glob("*/*")]:
        path.rename(tree / "val" / path.name)
    for wnid in WNIDS:
        (tree / "val" / wnid).rmdir()
    with tarfile.open(official / f"{DEVKIT}.tar.gz") as archive:
        archive.extractall(tree, filter="data")
    return tree


def loaded(root: Path, **options) -> ImageNet:
    options = {"size": 32, "resize": 36, "num_workers": 0, "validation_share": 0.25} | options
    data = ImageNet(str(root), **options)
    data.setup()
    return data


refused = partial(refusal, loaded)
