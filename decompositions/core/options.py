"""The ranges of options of objects that are built in Python.

Pydantic checks those of configurations, and is not here: this package needs torch alone.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from annotated_types import Ge, Gt, Le, Lt


def require_options(instance: Any, name: str) -> None:
    """Raise `ValueError` for a field of a dataclass that is outside the bounds of its annotation."""
    if not is_dataclass(instance):
        return
    hints = get_type_hints(type(instance), include_extras=True)
    for field in fields(instance):
        value = getattr(instance, field.name)
        for bound in getattr(hints[field.name], "__metadata__", ()):
            if not _within(value, bound):
                raise ValueError(f"{name}: {field.name} must satisfy {bound}, got {value!r}")


def _within(value: Any, bound: Any) -> bool:
    try:
        match bound:
            case Ge(limit):
                return bool(value >= limit)
            case Gt(limit):
                return bool(value > limit)
            case Le(limit):
                return bool(value <= limit)
            case Lt(limit):
                return bool(value < limit)
    except TypeError:
        return False
    return True
