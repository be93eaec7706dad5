"""Ranks that hardware likes: multiples of 8, 16 or 32, which fill its vectors and tiles.

A mode whose largest rank is below the step has that rank alone: its side has no more, whatever the layer.
"""

from __future__ import annotations

from collections.abc import Iterable


def limits(low: int, high: int, step: int) -> tuple[int, int]:
    """Return the smallest and the largest multiple of `step` from `low` to `high`; the first is larger if none is.

    >>> limits(1, 20, 8), limits(1, 5, 8), limits(0, 5, 8), limits(17, 20, 8)
    ((8, 16), (5, 5), (0, 5), (24, 16))
    """
    top = high - high % step if high >= step else high
    up = -(-low // step) * step
    return (top if low <= top < up else up), top


def is_multiple(rank: int, high: int, step: int) -> bool:
    """Return True if a rank between the `limits`, of which the larger is `high`, is one of theirs.

    >>> [rank for rank in range(17) if is_multiple(rank, 16, 8)], [rank for rank in range(6) if is_multiple(rank, 5, 8)]
    ([0, 8, 16], [0, 5])
    """
    return rank % step == 0 or rank == high


def rounded_up(ranks: Iterable[int], low: int, high: int, step: int) -> list[int]:
    """Return the ranks that become multiples of `step` from `low` to `high`, in rising order; none if there are none.

    >>> rounded_up([1, 2, 4, 9, 19], 1, 20, 8), rounded_up([1, 2, 4, 5], 1, 5, 1)
    ([8, 16], [1, 2, 4, 5])
    """
    smallest, largest = limits(low, high, step)
    if smallest > largest:
        return []
    return sorted({min(max(-(-rank // step) * step, smallest), largest) for rank in ranks})
