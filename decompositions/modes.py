"""The modes into which tensor trains cut the sizes of a layer: 1024 = 4·8·8·4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def modes_of(size: int, num_modes: int, given: Mapping[str, Sequence[int]] | None) -> tuple[int, ...]:
    """The modes given for this size, else `num_modes` balanced ones; raises `ValueError` for a wrong product.

    `given` names the sizes by their digits, as YAML's keys become; numbers do as well.
    """
    modes = next((tuple(modes) for key, modes in (given or {}).items() if str(key) == str(size)), ())
    if not modes:
        return balanced(size, num_modes)
    if math.prod(modes) != size:
        raise ValueError(f"modes: expected {size} as a product, got {' · '.join(map(str, modes))} = {math.prod(modes)}")
    return modes


def balanced(size: int, num_modes: int) -> tuple[int, ...]:
    """`num_modes` factors of `size`, rising: its primes, largest first, each to the smallest product so far."""
    modes = [1] * num_modes
    for prime in reversed(prime_factors(size)):
        modes[modes.index(min(modes))] *= prime
    return tuple(sorted(modes))


def prime_factors(number: int) -> list[int]:
    """In rising order; none for 1."""
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors + [number] * (number > 1)
