"""Damage to files and values by a seeded generator: what a torn write, a wrong edit or an enemy leaves."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD: list[Any] = [
    None, True, 0, -1, 1, 2**63, -(10**400), 0.0, -0.5, 1e-320, 1e308, "", " ", "x", "ok", "../../../etc",
    "/etc/passwd", "a\nb", "\x1b[2J", "\0", "\ud800", "x" * 300, "9" * 30, [], [[]], [1, "2"], {}, {"": None},
    {"rank": "r"}, {"ranks": 1}, {"1": 0}, {"_target_": "posix.system"},
]  # fmt: skip


def damaged(draw: random.Random, value: Any) -> Any:
    """Return a copy of a JSON value with one to three of its nodes replaced, removed, renamed or nested deeply."""
    value = json.loads(json.dumps(value))
    for _ in range(draw.choice((1, 1, 3))):
        parent, key = _place(draw, value)
        if parent is None:
            return _odd(draw)
        how = draw.random()
        if how < 0.7:
            parent[key] = _odd(draw)
        elif how < 0.8:
            del parent[key]
        elif how < 0.9 and isinstance(parent, dict):
            parent[str(_odd(draw))[:400]] = parent.pop(key)
        else:
            for _ in range(draw.choice((3, 100, 1500))):
                parent[key] = [parent[key]]
    return value


def _odd(draw: random.Random) -> Any:
    return copy.deepcopy(draw.choice(ODD))


def _place(draw: random.Random, value: Any) -> tuple[Any, Any]:
    """Return a container inside `value` and one of its keys, all depths alike; (None, None) for the value itself."""
    parent, key = None, None
    while isinstance(value, dict | list) and value and (parent is None or draw.random() < 0.7):
        parent, key = value, draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value = parent[key]
    return parent, key


def text_of(value: Any) -> str:
    """Return JSON that `json.dumps` cannot write: values nested a thousand deep, and numbers like 2e400."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{text_of(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        depth = 0
        while isinstance(value, list) and len(value) == 1:
            value, depth = value[0], depth + 1
        inner = ",".join(map(text_of, value)) if isinstance(value, list) else text_of(value)
        return "[" * depth + (f"[{inner}]" if isinstance(value, list) else inner) + "]" * depth
    return "2e400" if value == 1e308 else json.dumps(value)


def torn(draw: random.Random, content: bytes) -> bytes:
    """Return bytes that were cut, overwritten by others or by zeros, or put twice."""
    at = draw.randrange(len(content))
    length = draw.choice((1, 10, 1024))
    filler = draw.choice((b"\0" * length, draw.randbytes(length), b"[" * 100_000, b""))
    return draw.choice((content[:at], content[:at] + filler + content[at + length :], content + content[at:]))
