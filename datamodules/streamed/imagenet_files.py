"""Find the images of ILSVRC2012 [RDS15]: in folders, one a class, or inside the official archives as they are.

The training part is `<root>/train/<wnid>/*.JPEG` or `<root>/ILSVRC2012_img_train.tar`. The official validation part is
`<root>/val/<wnid>/*.JPEG` or, with the development kit, `<root>/val/*.JPEG` or `<root>/ILSVRC2012_img_val.tar`. A label
is a place among the sorted WordNet ids.

[RDS15] Russakovsky, Deng, Su et al., ImageNet large scale visual recognition challenge, IJCV 115, 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.listing.image_index import ImageIndex, ImageParts, index_of
from datamodules.listing.image_parts import list_classes, list_images
from datamodules.listing.places import Folder
from datamodules.streamed.imagenet_archives import WNID, index_archive
from datamodules.streamed.imagenet_devkit import ARCHIVE as DEVKIT
from datamodules.streamed.imagenet_devkit import validation_wnids

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"


def find_imagenet(root: Path, cache: Path | None) -> ImageParts:
    """Index both official parts, the second as test part; raise `ValueError` that names path, files and remedy.

    Nothing is extracted; the index of an archive is kept in the folder `cache`, or beside the archive.
    """
    for folder, archive in (("train", TRAIN), ("val", VAL)):
        if not (root / folder).is_dir() and not (root / archive).is_file():
            raise ValueError(
                f"ImageNet: {root.absolute()} lacks {archive}, and there is no folder {folder}/ with images in "
                f"{folder}/<wnid>/ instead; get {TRAIN}, {VAL} and {DEVKIT} from image-net.org, and set dataset.root "
                "to where they are (otherwise the folder imagenet in DATA_ROOT): nothing is downloaded"
            )
    classes, train = _train(root, cache)
    names, test = _test(root, cache)
    if odd := sorted(set(classes) ^ set(names)):
        there, lacking = (train, test) if odd[0] in classes else (test, train)
        raise ValueError(
            f"ImageNet: class {odd[0]} is in {there.container} and not in {lacking.container}; both need the same "
            "classes (for fewer of them set dataset.subset_classes)"
        )
    return ImageParts(classes, train, test)


def _train(root: Path, cache: Path | None) -> tuple[tuple[str, ...], ImageIndex]:
    if (root / "train").is_dir():
        return _tree(root / "train")
    index = index_archive(root / TRAIN, cache)
    if not len(index) or not all(b"/" in name for name in index.names.tolist()):
        raise ValueError(f"{root / TRAIN}: expected archives <wnid>.tar inside, one a class; fetch it again")
    return _labelled(index, index.names.astype("S9").astype(str))  # a WordNet id has nine letters


def _test(root: Path, cache: Path | None) -> tuple[tuple[str, ...], ImageIndex]:
    folder = root / "val"
    if folder.is_dir() and any(entry.kind == "folder" for entry in Folder(folder).entries()):
        return _tree(folder)
    if folder.is_dir():
        index = index_of(folder, False, list_images(Folder(folder)))
    else:
        index = index_archive(root / VAL, cache)
    if not len(index):
        raise ValueError(f"{index.container} holds no image; expected those of {VAL}")
    return _labelled(index, validation_wnids(root, len(index)))


def _tree(folder: Path) -> tuple[tuple[str, ...], ImageIndex]:
    classes, index = list_classes(Folder(folder))
    if odd := [name for name in classes if not WNID.fullmatch(name)]:
        raise ValueError(
            f"{folder / odd[0]}: expected folders named by WordNet ids, as n01440764; rename or move it (for your own "
            "images take dataset=image_folder_streamed)"
        )
    return classes, index


def _labelled(index: ImageIndex, wnids: Sequence[str] | np.ndarray) -> tuple[tuple[str, ...], ImageIndex]:
    """Return the sorted classes and the index with labels; `wnids` has the class of every image."""
    classes, labels = np.unique(np.asarray(wnids), return_inverse=True)
    return tuple(classes.tolist()), index.labelled(labels.astype(np.int64))
