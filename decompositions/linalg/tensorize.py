"""Reshape a weight into a tensor of many modes: how each size is cut (1024 = 4·8·8·4), and the order of the modes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

# The keys of given modes: a size, a size of one side, one side of a shape.
KEY = re.compile(r"(?:(?:out|in)_)?\d+|(?:out|in)_\d+x\d+")


@dataclass(frozen=True)
class Layout:
    """A weight of `shape` cut into the modes of its outputs and inputs.

    A linear layer's modes stand in pairs (m_1 n_1) … (m_d n_d). A convolution's kernel stands between outputs and
    inputs; with `kernel_first` it is the first mode and pairs follow, as in a linear layer.
    """

    shape: tuple[int, ...]
    out: tuple[int, ...]
    into: tuple[int, ...]
    kernel_first: bool = False

    @property
    def kernel(self) -> int | None:
        """Count the kernel positions; None for a linear layer."""
        return math.prod(self.shape[2:]) if len(self.shape) > 2 else None

    @property
    def in_pairs(self) -> bool:
        """Return True if each mode pairs one of the outputs' with one of the inputs'."""
        return self.kernel is None or self.kernel_first

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the sizes of the tensor's modes."""
        pairs = tuple(m * n for m, n in zip(self.out, self.into, strict=True)) if self.in_pairs else ()
        if self.kernel is None:
            return pairs
        return (self.kernel, *pairs) if self.kernel_first else (*self.out, self.kernel, *self.into)

    def to_train(self, weight: Tensor) -> Tensor:
        """Reshape a weight `(out, in, *kernel)` to a tensor of `sizes`."""
        if not self.in_pairs:
            return weight.flatten(2).movedim(1, 2).reshape(self.sizes)
        d = len(self.out)
        kernel = 1 if self.kernel is None else self.kernel
        first = weight.reshape(*self.shape[:2], kernel).movedim(2, 0)  # (kernel, out, in)
        pairs = [axis for k in range(d) for axis in (1 + k, 1 + d + k)]  # (kernel, m_1, n_1, m_2, n_2, …)
        return first.reshape(kernel, *self.out, *self.into).permute(0, *pairs).reshape(self.sizes)

    def from_train(self, tensor: Tensor) -> Tensor:
        """Undo `to_train`: reshape a tensor of `sizes` to the weight."""
        kernel = 1 if self.kernel is None else self.kernel
        if not self.in_pairs:
            return tensor.reshape(self.shape[0], kernel, self.shape[1]).movedim(2, 1).reshape(self.shape)
        d = len(self.out)
        split = tensor.reshape(kernel, *(size for pair in zip(self.out, self.into, strict=True) for size in pair))
        first = split.permute(*range(1, 2 * d + 1, 2), *range(2, 2 * d + 1, 2), 0)  # (m_1, …, n_1, …, kernel)
        return first.reshape(self.shape)


def modes_of(size: int, num_modes: int, given: Mapping[str, Sequence[int]] | None) -> tuple[int, ...]:
    """Return the modes given for this size, or `num_modes` balanced ones.

    The keys of `given` are sizes, as numbers or as text (which YAML's keys become). Raises `ValueError` for a wrong
    product and for another key.

    >>> modes_of(784, 4, {"784": [7, 4, 7, 4]})
    (7, 4, 7, 4)
    """
    for key in given or {}:
        if not str(key).isdecimal():
            raise ValueError(f"modes: expected sizes as keys, as in {{1024: [4, 8, 8, 4]}}, got '{key}'")
    return _first_given((str(size),), size, num_modes, given or {})


def modes_of_sides(
    shape: Sequence[int], num_modes: int, given: Mapping[str, Sequence[int]] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the modes of the outputs and of the inputs of a weight of this shape, `(out, in, *kernel)`.

    A key of `given` is a size (both sides), a size of one side (`out_32`, `in_32`), or one side of the weights of one
    shape (`in_64x32`: the inputs of those with 64 outputs and 32 inputs). The narrowest key counts; without one a side
    has `num_modes` balanced modes. Raises `ValueError` for a wrong product and for another key.

    >>> modes_of_sides((64, 32, 3, 3), 2, {"32": [8, 4], "in_64x32": [4, 8]})
    ((8, 8), (4, 8))
    """
    given = given or {}
    for key in given:
        if not KEY.fullmatch(str(key)):
            raise ValueError(
                "modes: expected as keys a size (32), a size of one side (out_32, in_32) or one side of a shape, "
                f"outputs x inputs (out_64x32, in_64x32), got '{key}'"
            )
    of_shape = f"{shape[0]}x{shape[1]}"
    out, into = (
        _first_given((f"{side}_{of_shape}", f"{side}_{size}", str(size)), size, num_modes, given)
        for side, size in zip(("out", "in"), shape[:2], strict=True)
    )
    return out, into


def _first_given(keys: Sequence[str], size: int, num_modes: int, given: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """Return the modes of the first of `keys` that is given, or balanced ones."""
    named = {str(key): tuple(modes) for key, modes in given.items()}
    key = next((key for key in keys if key in named), None)
    if key is None:
        return balanced(size, num_modes)
    modes = named[key]
    if math.prod(modes) != size:
        what = "modes" if key == str(size) else f"modes of {key}"
        product = " · ".join(map(str, modes))
        raise ValueError(f"{what}: expected {size} as a product, got {product} = {math.prod(modes)}")
    return modes


def balanced(size: int, num_modes: int) -> tuple[int, ...]:
    """Return `num_modes` rising factors of `size`: its primes, largest first, each multiply the smallest one so far.

    >>> balanced(1024, 3), balanced(360, 3), balanced(7, 2)
    ((8, 8, 16), (6, 6, 10), (1, 7))
    """
    modes = [1] * num_modes
    for prime in reversed(prime_factors(size)):
        modes[modes.index(min(modes))] *= prime
    return tuple(sorted(modes))


def prime_factors(number: int) -> list[int]:
    """Return the prime factors in rising order; none for 1.

    >>> prime_factors(360)
    [2, 2, 2, 3, 3, 5]
    """
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors + [number] * (number > 1)
