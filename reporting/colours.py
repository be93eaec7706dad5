"""Give each method one colour and one shape, in every figure and on the page.

There are fewer colours that the colour-blind can tell apart [OI08] than methods, so methods of one colour differ in
shape. A method of conf/method gets its pair by its place in the alphabet, any other by its letters.

[OI08] Okabe & Ito, Color universal design, 2008; brown replaces their yellow, which is invisible on white.
"""

from __future__ import annotations

import functools
import zlib

from evaluation.name import METHODS

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#8c6d31")
# Vega's names of the shapes, and Matplotlib's.
SHAPES = {"circle": "o", "square": "s", "triangle-up": "^", "diamond": "D", "cross": "P", "triangle-down": "v"}


def colour(method: str) -> str:
    """Return the colour of a method, as `#rrggbb`."""
    return PALETTE[_place(method) % len(PALETTE)]


def shape(method: str) -> str:
    """Return the shape of a method's marks, one of `SHAPES`."""
    return list(SHAPES)[_place(method) // len(PALETTE) % len(SHAPES)]


def _place(method: str) -> int:
    known = _known()
    return known.index(method) if method in known else zlib.crc32(method.encode()) % (len(PALETTE) * len(SHAPES))


@functools.cache
def _known() -> list[str]:
    return sorted(path.stem for path in METHODS.glob("*.yaml"))
