"""A tree of fourteen images that lies as people's trees do: linked, oddly named, beside what file managers leave."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

ENDINGS = ("folder", ".tar", ".zip", ".stored.zip")
# What readers must find; `linked` is a class that is a link to a folder, which lies outside the parts.
NAMES = {
    "train": {"ant": ["0.jpg", "1.JFIF", "2.avif", "3", "hard.png", "soft.jpg"], "linked": ["0.png", "1.webp"]},
    "test": {"ant": ["0.jpg", "soft.png", "ünï ☃.bmp"], "linked": ["0.png", "1.webp", "2.gif"]},
}
HIDDEN = ("train/ant/Thumbs.db", "train/ant/.DS_Store", "train/desktop.ini", "test/ant/README.txt", "__MACOSX/._a.jpg")


def save(path: Path, seed: int, kind: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, kind)


def write_tree(root: Path) -> Path:
    """Write the tree of `NAMES` below `root`, with hard and symbolic links, and what is hidden."""
    save(root / "train/ant/0.jpg", 0)
    save(root / "train/ant/1.JFIF", 1, "jpeg")
    save(root / "train/ant/2.avif", 2)
    save(root / "train/ant/3", 3, "png")
    save(root / "store/a.png", 4)
    os.link(root / "store/a.png", root / "train/ant/hard.png")
    (root / "train/ant/soft.jpg").symlink_to("0.jpg")
    for part, num in (("train", 2), ("test", 3)):
        for index, ending in enumerate(("png", "webp", "gif")[:num]):
            save(root / "store" / part / f"{index}.{ending}", 10 * num + index)
        (root / part).mkdir(exist_ok=True)
        (root / part / "linked").symlink_to(f"../store/{part}", target_is_directory=True)
    save(root / "test/ant/0.jpg", 5)
    save(root / "test/ant/ünï ☃.bmp", 6)
    (root / "test/ant/soft.png").symlink_to("../../train/ant/hard.png")
    for name in HIDDEN:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("no image")
    return root


def pack(root: Path, ending: str, wrapper: str = "") -> Path:
    """Pack a tree, links as links, below the folder `wrapper`; "folder" leaves it where it is."""
    if ending == "folder":
        if wrapper:
            (root.parent / wrapper).mkdir()
            root.rename(root.parent / wrapper / "inside")
        return root.parent / wrapper if wrapper else root
    path = root.with_name(f"packed{ending}")
    if ending == ".tar":
        with tarfile.open(path, "w") as archive:
            archive.add(root, wrapper or ".")
        return path
    method = zipfile.ZIP_STORED if "stored" in ending else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", method) as archive:
        for each in sorted(root.rglob("*")):
            name = (Path(wrapper) / each.relative_to(root)).as_posix()
            if each.is_symlink():
                info = zipfile.ZipInfo(name)
                info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, os.readlink(each))
            elif each.is_file():
                archive.write(each, name)
    return path
