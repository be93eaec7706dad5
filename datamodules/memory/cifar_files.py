"""Read the official files of CIFAR-10 and CIFAR-100 for Python [Kri09], or the archive that they come in.

The files are pickles. They are read without running what a pickle may ask for: only arrays, lists, strings and numbers.

[Kri09] Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules.listing.archive_members import Header
from datamodules.memory.checksum import require_md5
from datamodules.memory.in_memory import Images
from runtime.messages import one_line

MAX_BYTES = 2**28  # of a file; the largest official one has 155 MB


@dataclass(frozen=True)
class Release:
    """The names of the official files and their md5 sums, which torchvision checks too.

    With `md5` None no sum is checked. Each file holds its labels under `key`, from 0 to `num_classes - 1`.
    """

    title: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    md5: dict[str, str] | None
    key: str
    num_classes: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all files."""
        return (*self.train, self.test)

    def missing(self, root: Path) -> list[str]:
        """List the files that are not in their folder; none if the archive is there."""
        lacking = [name for name in self.names if not (root / self.folder / name).is_file()]
        return [] if (root / self.archive).is_file() else lacking

    def read(self, root: Path) -> tuple[Images, Images]:
        """Read the training and the test part; raise `ValueError` that names a damaged or unofficial file."""
        contents = self._contents(root)
        parts = [self._read(contents(name), name, root / self.folder / name) for name in self.names]
        images, labels = (torch.cat([getattr(part, key) for part in parts[:-1]]) for key in ("images", "labels"))
        return Images(images, labels), parts[-1]

    def _read(self, content: bytes, name: str, path: Path) -> Images:
        if self.md5 is not None:
            require_md5(path, content, self.md5[name])
        return read_batch(content, str(path), self.key, self.num_classes)

    def _contents(self, root: Path) -> Callable[[str], bytes]:
        """Return a function from a file's name to its bytes: from the folder if it is whole, else from the archive."""
        if all((root / self.folder / name).is_file() for name in self.names):
            return lambda name: (root / self.folder / name).read_bytes()
        path, contents = root / self.archive, dict[str, bytes]()
        try:
            with tarfile.open(path, "r:gz", tarinfo=Header) as archive:
                for member in archive:
                    name = Path(member.name)
                    is_wanted = name.parent.name == self.folder and name.name in self.names
                    if is_wanted and member.size < MAX_BYTES and (file := archive.extractfile(member)):
                        contents[name.name] = file.read()
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
            raise ValueError(f"{path}: cannot be read ({error}); fetch the file again") from None
        if missing := [f"{self.folder}/{name}" for name in self.names if name not in contents]:
            raise ValueError(f"{path}: lacks {', '.join(missing)}; fetch the file again")
        return contents.__getitem__


def read_batch(content: bytes, place: str, key: str, num_classes: int) -> Images:
    """Read one pickled batch: `data`, (n, 3072) bytes, red, green and blue in turn, and under `key` n labels.

    Raises `ValueError` that names `place` if the batch is damaged or asks for anything but arrays, lists, strings and
    numbers.
    """
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"{place}: cannot be read ({one_line(error)}); fetch the file again") from None
    fields: dict[Any, Any] = batch if isinstance(batch, dict) else {}
    data: Any
    labels: Any
    data, labels = (fields.get(name.encode(), fields.get(name)) for name in ("data", key))
    good = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == 3072
    good = good and isinstance(labels, list) and len(labels) == len(data) > 0
    if not good or not all(isinstance(label, int) and 0 <= label < num_classes for label in labels):
        raise ValueError(
            f"{place}: expected a dictionary with 'data', uint8 of shape (n, 3072), and '{key}', n integers from 0 to "
            f"{num_classes - 1}; fetch the file again"
        )
    return Images(torch.from_numpy(data.reshape(-1, 3, 32, 32).copy()), torch.tensor(labels, dtype=torch.int64))


class _Unpickler(pickle.Unpickler):
    """Resolves only the names that an array of numbers needs, under the modules of old and new NumPy."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return lambda _, shape, kind: np.ndarray(shape, kind)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in the old protocol
            return lambda text, _: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")
