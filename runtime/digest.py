"""Short digests that identify contents in names of files, ids and fingerprints."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runtime.json_trees import map_leaves

NUM_DIGITS = 12
PIECE_BYTES = 2**20


def digest_bytes(pieces: Iterable[bytes | memoryview]) -> str:
    """Return twelve hex digits of the concatenated pieces, however they are cut.

    >>> digest_bytes([b"ab", b"c"]) == digest_bytes([b"abc"])
    True
    """
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()[:NUM_DIGITS]


def digest_file(path: Path) -> str:
    """Return twelve hex digits of a file; one that has not changed since is read once. Raises `OSError`."""
    about = path.stat()
    return _digest_file(path, about.st_mtime_ns, about.st_size)


@functools.lru_cache
def _digest_file(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return digest_bytes(iter(lambda: file.read(PIECE_BYTES), b""))


def digest_json(value: Any) -> str:
    """Return twelve hex digits of a JSON value; the order of keys, and `1` or `1.0`, make no difference.

    >>> digest_json({"a": 1, "b": (2.0, None)}) == digest_json({"b": [2, None], "a": 1.0})
    True
    """
    return digest_bytes([json.dumps(map_leaves(_whole, value), sort_keys=True).encode()])


def _whole(leaf: Any) -> Any:
    return int(leaf) if isinstance(leaf, float) and leaf.is_integer() else leaf
