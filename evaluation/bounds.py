"""The bounds of what a row may hold, wide enough for all that is measured and narrow enough for all that is computed.

A mean squares its values and a ratio divides them: with these bounds neither leaves the range of a float. Names become
parts of files' names, and are printed in a terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import AfterValidator, StringConstraints, ValidationError

from runtime.messages import printable

MOST = 1e15
MAX_SIZE = 2**20  # of a batch


def _within(low: float, high: float) -> Callable[[float], float]:
    def check(value: float) -> float:
        if value < low or value > high:  # NaN, of a network that diverged, is neither
            raise ValueError(f"expected {low:g} to {high:g}, got {value:g}")
        return value

    return check


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError(f"expected printable characters, none of them white space at an end, got {text!r}")
    return text


Percent = Annotated[float, AfterValidator(_within(0.0, 100 + 1e-9))]
Loss = Annotated[float, AfterValidator(_within(-MOST, 1e300))]
Amount = Annotated[float, AfterValidator(_within(0.0, MOST))]
Milliseconds = Annotated[float, AfterValidator(_within(1e-9, MOST))]
Count = Annotated[int, Ge(0), Le(2**63 - 1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_printable)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,49}$")]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def why_refused(error: Exception) -> str:
    """Return in one line of two hundred characters why a file is not what it should be: it may hold anything."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    else:
        why = f"{type(error).__name__}: {error}"
    return printable(why[:200])


def require_ranks(ranks: Any) -> None:
    """Raise `ValueError` unless `ranks` maps names of layers to an int, a list of ints, or None."""
    if not isinstance(ranks, dict) or not all(map(is_rank, ranks.values())):
        raise ValueError("ranks: expected an int, a list of ints or null for each layer")


def is_rank(value: Any) -> bool:
    """Return True for an int, a list of ints, or None.

    >>> is_rank(3), is_rank([3, 2]), is_rank(None), is_rank(3.5), is_rank(True)
    (True, True, True, False, False)
    """
    return value is None or all(type(each) is int for each in (value if isinstance(value, list) else [value]))
