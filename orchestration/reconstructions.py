"""Which options are reconstructions, because the paper was not at hand: the first comment of their file says so."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from orchestration.schema import CONF


def reconstructions() -> frozenset[tuple[str, str]]:
    """`{("method", "ntt"), …}`: the group and the option."""
    return frozenset((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if _says_so(path))


def _says_so(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines()
    return any("reconstruction" in line for line in takewhile(lambda line: line.startswith("#"), lines))
