"""One colour a method, in every figure and on the page."""

from __future__ import annotations

import zlib

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#8c6d31")


def colour(method: str) -> str:
    """The colour of a method, the same in every run of the program."""
    return PALETTE[zlib.crc32(method.encode()) % len(PALETTE)]
