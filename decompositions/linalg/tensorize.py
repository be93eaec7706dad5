"""Reshape a weight into a tensor of many modes: how each size is cut (1024 = 4·8·8·4), and the order of the modes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

# The keys of given modes: a size, a size of one side, one side of a shape.
KEY = re.compile(r"(?:(?:out|in)_)?[1-9][0-9]*|(?:out|in)_[1-9][0-9]*x[1-9][0-9]*")
Given = Mapping[str, Sequence[int]] | None


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


def modes_of_sides(shape: Sequence[int], num_modes: int, given: Given) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the modes of the outputs and of the inputs of a weight of this shape, `(out, in, *kernel)`.

    A key of `given` is a size (both sides), a size of one side (`out_32`, `in_32`), or one side of the weights of one
    shape (`in_64x32`: the inputs of those with 64 outputs and 32 inputs). The narrowest key counts; without one a side
    has `num_modes` balanced modes. Raises `ValueError` for a wrong product and for another key.

    >>> modes_of_sides((64, 32, 3, 3), 2, {"32": [8, 4], "in_64x32": [4, 8]})
    ((8, 8), (4, 8))
    """
    named = _by_key(given)
    sides = zip(_keys_of_sides(shape), shape[:2], strict=True)
    out, into = (_first_given(keys, size, num_modes, named) for keys, size in sides)
    return out, into


def refuse_unused_keys(shapes: Iterable[Sequence[int]], given: Given) -> None:
    """Raise `ValueError` for a key of `given` that no weight of these shapes uses: a typo would give balanced modes."""
    shapes, named = list(shapes), _by_key(given)
    used = {_narrowest(keys, named) for shape in shapes for keys in _keys_of_sides(shape)}
    if unused := [key for key in named if key not in used]:
        cut = ", ".join(dict.fromkeys(f"{out}x{into}" for out, into, *_ in shapes))
        raise ValueError(
            f"modes: expected keys of the layers that are cut, which are {cut or 'none'} (outputs x inputs), got "
            f"{', '.join(map(repr, unused))}: no side uses it, or only with a narrower key; correct it or leave it out"
        )


def _by_key(given: Given) -> dict[str, tuple[int, ...]]:
    """Return the given modes by key, as text; raises `ValueError` for what is no key."""
    named = {str(key): tuple(modes) for key, modes in (given or {}).items()}
    for key in named:
        if not KEY.fullmatch(key):
            raise ValueError(
                "modes: expected as keys a size (32), a size of one side (out_32, in_32) or one side of a shape, "
                f"outputs x inputs (out_64x32, in_64x32), got '{key}'"
            )
    return named


def _keys_of_sides(shape: Sequence[int]) -> list[tuple[str, str, str]]:
    """Return the keys that fit the outputs and those that fit the inputs, the narrowest first."""
    sides = zip(("out", "in"), shape[:2], strict=True)
    return [(f"{side}_{shape[0]}x{shape[1]}", f"{side}_{size}", str(size)) for side, size in sides]


def _narrowest(keys: Sequence[str], named: Mapping[str, Sequence[int]]) -> str | None:
    return next((key for key in keys if key in named), None)


def _first_given(
    keys: Sequence[str], size: int, num_modes: int, named: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """Return the modes of the first of `keys` that is given, or balanced ones."""
    if (key := _narrowest(keys, named)) is None:
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
