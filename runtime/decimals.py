"""Floats as they were meant: 0.1 + 0.2 gives 0.30000000000000004, and so does `range(0.1,0.5,0.1)`, for 0.3."""

from __future__ import annotations

import math
from typing import Any

NUM_DIGITS = 12
NUM_ULPS = 8  # what a few sums and products of doubles leave; a number of more digits, as √2, is farther away


def as_meant(leaf: Any) -> Any:
    """Return the number of at most twelve digits that a float is within rounding of; any other leaf as it is.

    >>> as_meant(0.1 + 0.2), as_meant(1.4142135623730951), as_meant(3)
    (0.3, 1.4142135623730951, 3)
    """
    if not isinstance(leaf, float) or not math.isfinite(leaf):
        return leaf
    decimal = float(f"{leaf:.{NUM_DIGITS}g}")
    return decimal if abs(decimal - leaf) <= NUM_ULPS * math.ulp(leaf) else leaf
