"""Find and decode the images below `train/<class>/` and `test/<class>/`, in a folder or a tar archive.

An archive is read in memory; nothing is extracted to the disk.
"""

from __future__ import annotations

import functools
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from runtime.messages import one_line

PARTS = ("train", "test")
ENDINGS = (".tar.xz", ".tar.gz", ".tgz", ".tar")
LAYOUT = "train/<class>/<image> and test/<class>/<image>"
# 16-bit and floating-point images have no agreed meaning in eight bits.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class DecodedImages:
    """The decoded images of both parts, sorted by class and name; a label is a place in the sorted `classes`."""

    classes: tuple[str, ...]
    train: UInt8[np.ndarray, "sample channel height width"]
    train_labels: Int64[np.ndarray, " sample"]
    test: UInt8[np.ndarray, "other channel height width"]
    test_labels: Int64[np.ndarray, " other"]


def find_root(root: Path) -> Path:
    """Return the folder or archive `root`, or `root` plus an archive's ending; raise `ValueError` if there is none."""
    candidates = [root, *(root.with_name(root.name + ending) for ending in ENDINGS)]
    for path in candidates:
        if path.is_dir() or path.is_file():
            return path
    raise ValueError(
        f"images: there is no {root.absolute()}, nor an archive of that name ({', '.join(ENDINGS)}); set dataset.root "
        f"(or the environment variable DATA_ROOT) to a folder or archive that holds {LAYOUT}"
    )


@functools.lru_cache(maxsize=1)  # the points of a sweep share what was decoded
def read_images(root: Path, stamp: int, channels: int, size: int | None, subset_per_class: int | None) -> DecodedImages:
    """Decode the images below `root` to 1 or 3 `channels`, resized to `size × size` unless that is None.

    `stamp` is the time of `root`'s last change, so that changed images are read anew. Of each class the first
    `subset_per_class` by name are read; None reads all. Raises `ValueError` that names what is missing, empty,
    unreadable or of another size.
    """
    tree = _tree(root)
    classes = _classes(root, tree)
    shape: tuple[str, tuple[int, ...]] | None = None
    decoded: list[np.ndarray] = []
    for part in PARTS:
        files = [
            (name, content, label)
            for label, each in enumerate(classes)
            for name, content in sorted(tree[part][each].items())[:subset_per_class]
        ]
        images = np.empty(0, np.uint8)
        for index, (name, content, _) in enumerate(files):
            image = _decode(content, f"{root}: {name}", channels, size)
            first, expected = shape = shape or (name, image.shape)
            if image.shape != expected:
                raise ValueError(
                    f"{root}: {name} has {_pixels(image.shape)} pixels and {first} has {_pixels(expected)}; give all "
                    "one size, or resize them with dataset.size=32"
                )
            if index == 0:
                images = np.empty((len(files), *expected), np.uint8)
            images[index] = image
        decoded += [images, np.array([label for _, _, label in files], np.int64)]
    return DecodedImages(tuple(classes), *decoded)


def _classes(root: Path, tree: dict[str, dict[str, dict[str, bytes | Path]]]) -> list[str]:
    """Return the sorted classes; raise `ValueError` unless both parts have the same and none is empty."""
    for part in PARTS:
        if not tree[part]:
            raise ValueError(
                f"{root}: no classes in {part}/; expected {LAYOUT}, with no folder around them: set dataset.root to "
                "what holds them"
            )
        if empty := [name for name, files in sorted(tree[part].items()) if not files]:
            raise ValueError(f"{root}: {part}/{empty[0]} holds no image; put some there, or delete the class")
    if len(tree["train"]) < 2:
        raise ValueError(f"{root}: one class, {next(iter(tree['train']))}; expected at least two to tell apart")
    if odd := sorted(set(tree["train"]) ^ set(tree["test"])):
        there, lacking = PARTS if odd[0] in tree["train"] else PARTS[::-1]
        raise ValueError(f"{root}: class '{odd[0]}' is in {there}/ and not in {lacking}/; both need the same classes")
    return sorted(tree["train"])


def _tree(root: Path) -> dict[str, dict[str, dict[str, bytes | Path]]]:
    """Return `{part: {class: {file: content or path}}}`, without hidden files; refuse images in other places."""
    tree: dict[str, dict[str, dict[str, bytes | Path]]] = {part: {} for part in PARTS}
    entries = _in_folder(root) if root.is_dir() else _in_archive(root)
    for path, content in entries:
        part, *rest = path.parts
        if part in PARTS and rest and not any(name.startswith(".") for name in rest):
            if content is not None and len(rest) != 2:
                if path.suffix.lower() in Image.registered_extensions():
                    raise ValueError(
                        f"{root}: {path} is not in a folder of its class; expected {LAYOUT}: move or delete it"
                    )
                continue
            files = tree[part].setdefault(rest[0], {})
            if content is not None:
                files[str(path)] = content
    return tree


def _in_folder(root: Path) -> Iterator[tuple[PurePosixPath, Path | None]]:
    """Yield each class with None, and each file with its path."""
    for folder in (root / part for part in PARTS):
        for path in folder.rglob("*"):
            if path.is_file() or path.parent == folder:
                yield PurePosixPath(path.relative_to(root).as_posix()), path if path.is_file() else None


def _in_archive(root: Path) -> Iterator[tuple[PurePosixPath, bytes | None]]:
    try:
        with tarfile.open(root) as archive:
            for member in archive:
                path = PurePosixPath(member.name)  # without a leading "./"
                if path.parts and (member.isdir() or member.isfile()):
                    file = archive.extractfile(member)
                    yield path, None if file is None else file.read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"{root}: cannot be read as an archive ({one_line(error)}); fetch it again, or pack it as "
            f"{' or '.join(ENDINGS)}"
        ) from None


def _decode(content: bytes | Path, place: str, channels: int, size: int | None) -> UInt8[np.ndarray, "c h w"]:
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            if image.mode not in MODES:
                raise ValueError(f"pixels of kind {image.mode}; convert it to eight bits a channel")
            image.load()
            pixels = image.convert("L" if channels == 1 else "RGB")
    except UNREADABLE as error:
        raise ValueError(f"{place}: not a readable image ({one_line(error)}); mend or delete it") from None
    if size is not None:
        pixels = pixels.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(pixels).reshape(*reversed(pixels.size), channels).transpose(2, 0, 1)


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[2]}"
