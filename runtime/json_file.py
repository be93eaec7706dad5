"""Read a file of JSON that anybody may have written, torn or put there: bounded in size and depth, values JSON has."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from runtime.plain_file import read_plain

MAX_BYTES = 64 * 2**20  # the largest row of a deep network has a megabyte
MAX_DEPTH = 50  # a row has eight; code that walks a tree calls itself once a level
# Of a file without such digits no number is too large; to look at each takes as long as all the rest.
MAYBE_TOO_LARGE = re.compile(rb"[eE]\+?\d{3}|\d{19}")


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Return the value of a file of JSON; raises `OSError` if none can be read, `ValueError` for anything else there.

    Refused are what is no plain file, files of more than `max_bytes`, values nested deeper than `MAX_DEPTH`, and
    numbers that are infinite, NaN or integers beyond 64 bits, which `json` would take.
    """
    content = read_plain(path, max_bytes)
    try:
        floats, ints = (_finite, _short) if MAYBE_TOO_LARGE.search(content) else (None, None)
        value = json.loads(content.decode("utf-8"), parse_float=floats, parse_int=ints, parse_constant=_refuse)
    except RecursionError:
        raise _too_deep() from None
    _require_shallow(value)
    return value


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _short(text: str) -> int:
    if len(text) > 20 or abs(number := int(text)) >= 2**63:
        raise ValueError(f"expected integers of 64 bits, got {text[:25]}")
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"expected finite numbers, got {text[:20]}")


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for node in level for item in _below(node) if isinstance(item, dict | list)]
        if not level:
            return
    raise _too_deep()


def _below(node: Any) -> Any:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _too_deep() -> ValueError:
    return ValueError(f"expected at most {MAX_DEPTH} levels of nesting, got more")
