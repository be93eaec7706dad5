"""Read the idx format of MNIST [LBBH98], plain or gzipped.

[LBBH98] LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition, 1998.
"""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.memory.checksum import require_md5

MAX_BYTES = 2**30  # a few kilobytes may unpack to any number; of letters and digits there are 0.6 GB


def find_file(folder: Path, name: str) -> Path | None:
    """Return the file `name` in `folder`, or its gzipped form; None if neither is there."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_idx(path: Path, md5: str | None = None) -> Tensor:
    """Read an idx file of unsigned bytes, gzipped or not; raise `ValueError` if it is damaged or of another kind.

    With `md5` the file, as it is, must have that sum. The format: two zero bytes, the type (8: uint8), the number of
    dimensions, each size as a big-endian int32, the bytes.
    """
    try:
        content = path.read_bytes()
        data = content
        if path.suffix == ".gz":
            with gzip.open(io.BytesIO(content)) as file:
                data = file.read(MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read ({error}); fetch the file again") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path}: expected an idx file of unsigned bytes; fetch the file again")
    num_dimensions = data[3]
    header = 4 + 4 * num_dimensions
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(num_dimensions)]
    if len(data) - header != int(np.prod(shape)):
        raise ValueError(
            f"{path}: expected {header + int(np.prod(shape))} bytes for {shape}, got {len(data)}: truncated?"
        )
    if md5 is not None:  # last: the checks above say what is wrong with a truncated file
        require_md5(path, content, md5)
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy())
