"""One colour and one shape a method, in every figure and on the page.

Eight colours that the colour-blind tell apart [OI08] are fewer than there are methods: those of one colour have
different shapes. Methods of conf/method have theirs by their place in the alphabet, others by their letters.

[OI08] Okabe & Ito, Color universal design, 2008; yellow, which no white page shows, is a brown here.
"""

from __future__ import annotations

import functools
import zlib

from evaluation.name import METHODS

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#8c6d31")
# Names of Vega, and what Matplotlib calls them.
SHAPES = {"circle": "o", "square": "s", "triangle-up": "^", "diamond": "D", "cross": "P", "triangle-down": "v"}


def colour(method: str) -> str:
    """The colour of a method, as `#rrggbb`."""
    return PALETTE[_place(method) % len(PALETTE)]


def shape(method: str) -> str:
    """The shape of a method's marks, one of `SHAPES`."""
    return list(SHAPES)[_place(method) // len(PALETTE) % len(SHAPES)]


def _place(method: str) -> int:
    known = _known()
    return known.index(method) if method in known else zlib.crc32(method.encode()) % (len(PALETTE) * len(SHAPES))


@functools.cache
def _known() -> list[str]:
    return sorted(path.stem for path in METHODS.glob("*.yaml"))
