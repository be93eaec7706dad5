"""Read the classes of the official validation images from the development kit of ILSVRC2012 [RDS15].

`data/meta.mat` numbers the classes; `data/ILSVRC2012_validation_ground_truth.txt` has one number a line, for the images
sorted by name.

[RDS15] Russakovsky, Deng, Su et al., ImageNet large scale visual recognition challenge, IJCV 115, 2015.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from datamodules.listing.archive_members import Header
from runtime.messages import one_line

FOLDER = "ILSVRC2012_devkit_t12"
ARCHIVE = f"{FOLDER}.tar.gz"
META, TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"

MAX_BYTES = 2**26  # of a file of the kit


def validation_wnids(root: Path, num_images: int) -> list[str]:
    """Return the WordNet id of each of `num_images` validation images, sorted by name.

    The kit is `<root>/ILSVRC2012_devkit_t12.tar.gz`, or the folder that was extracted from it. Raises `ValueError` that
    names what is missing or damaged.
    """
    place, contents = _files(root)
    wnids = _wnids(contents[META], f"{place}: {META}")
    try:
        numbers = [int(line) for line in contents[TRUTH].split()]
    except ValueError:
        raise ValueError(f"{place}: {TRUTH}: expected one number a line; fetch the kit again") from None
    if len(numbers) != num_images:
        raise ValueError(
            f"{place}: {TRUTH} has {len(numbers)} lines for {num_images} validation images; expected one for each: "
            "fetch what is incomplete again"
        )
    if unknown := sorted(set(numbers) - set(wnids)):
        raise ValueError(f"{place}: {TRUTH} has class {unknown[0]}, which {META} does not know; fetch the kit again")
    return [wnids[number] for number in numbers]


def _files(root: Path) -> tuple[Path, dict[str, bytes]]:
    """Find the kit; return its place and the contents of its two files."""
    folder, archive = root / FOLDER / "data", root / ARCHIVE
    if all((folder / name).is_file() for name in (META, TRUTH)):
        return folder, {name: (folder / name).read_bytes() for name in (META, TRUTH)}
    if not archive.is_file():
        raise ValueError(
            f"ImageNet: {root.absolute()} lacks {ARCHIVE} (or the folder {FOLDER}), which names the classes of the "
            "validation images; put it there, or sort the images into val/<wnid>/"
        )
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz", tarinfo=Header) as kit:
            for member in kit:
                path = PurePosixPath(member.name)
                is_wanted = path.name in (META, TRUTH) and path.parent.name == "data" and member.size < MAX_BYTES
                if is_wanted and (file := kit.extractfile(member)):
                    contents[path.name] = file.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{archive}: cannot be read ({one_line(error)}); fetch it again") from None
    if missing := [name for name in (META, TRUTH) if name not in contents]:
        raise ValueError(f"{archive}: lacks {', '.join(f'data/{name}' for name in missing)}; fetch it again")
    return archive, contents


def _wnids(content: bytes, place: str) -> dict[int, str]:
    """Return `{ILSVRC2012_ID: WNID}` of the synsets without children: the classes."""
    from scipy.io import loadmat

    try:
        synsets = np.atleast_1d(loadmat(io.BytesIO(content), squeeze_me=True)["synsets"])
        return {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets if int(s["num_children"]) == 0}
    except Exception as error:  # a damaged file raises nearly anything
        raise ValueError(f"{place}: cannot be read ({one_line(error)}); fetch the kit again") from None
