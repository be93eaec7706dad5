"""Values that a configuration takes from the environment (`${oc.env:NAME}`) are used, and never written.

In rows, configurations on disk and W&B a digest stands in their place: points with different values have different ids.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.digest import digest_bytes
from runtime.json_trees import Place, leaves, with_leaf

CALL = re.compile(r"\$\{oc\.env:\s*([A-Za-z_]\w*)")
COPY = re.compile(r"\$\{\s*([A-Za-z_][\w.]*)\s*\}")
# Of places and people: a row may say them, and paths are compared with those of an earlier run.
PUBLIC = frozenset(("DATA_ROOT", "HOME", "USER", "LOGNAME", "TMPDIR", "PWD", "SCRATCH"))
Masks = Sequence[tuple[Sequence[str | int], str]]


def masks_of(unresolved: Any, resolved: Any) -> Masks:
    """Return the places of a `resolved` configuration that hold a value of the environment, and what to write there.

    Only the texts that read a variable, by themselves or as a copy of another place, hold its value: "3" elsewhere is
    another three.
    """
    texts = {_named(place): leaf for place, leaf in leaves(unresolved) if isinstance(leaf, str) and "${" in leaf}
    if not any(CALL.search(text) for text in texts.values()):
        return ()
    masks = []
    for place, leaf in leaves(resolved):
        names = _read_at(_named(place), texts, frozenset()) - PUBLIC if isinstance(leaf, str) else ()
        values = {value: name for name in names if (value := os.environ.get(name, ""))}
        mask = leaf
        for value in sorted(values, key=len, reverse=True):
            mask = mask.replace(value, f"<oc.env:{values[value]} {digest_bytes([value.encode()])}>")
        if mask != leaf:
            masks.append((place, mask))
    return tuple(masks)


def _read_at(place: tuple[str, ...], texts: Mapping[tuple[str, ...], str], seen: frozenset[str]) -> set[str]:
    """Return the variables that the texts above and below a place read, and those of the places that they copy."""
    found: set[str] = set()
    for key, text in texts.items():
        if key[: len(place)] != place[: len(key)] or text in seen:
            continue
        found |= set(CALL.findall(text))
        for copied in COPY.findall(text):
            found |= _read_at(tuple(copied.split(".")), texts, seen | {text})
    return found


def masked(config: Mapping[str, Any], masks: Masks) -> dict[str, Any]:
    """Return a copy of `config` with the masks in their places; the rest is shared.

    >>> masked({"a": {"b": ["key", 1]}}, [(("a", "b", 0), "<oc.env:KEY>")])
    {'a': {'b': ['<oc.env:KEY>', 1]}}
    """
    found: Any = dict(config)
    for place, mask in masks:
        found = with_leaf(found, place, mask)
    return found


def _named(place: Place) -> tuple[str, ...]:
    return tuple(map(str, place))
