"""Marks that an option of a configuration carries at its annotation, about the identity of what is computed.

    num_workers: Annotated[int, Ge(0), NotIdentity()] = 0      reads the same data: no part of any id
    cutout: Annotated[int, Ge(0), AsBefore(0)] = 0             added later: 0 computes what was computed without it

`orchestration.config.identity` reads them from the source, as it reads all annotations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NotIdentity:
    """The option says where or how something runs, and changes no number: two points that differ in it are one."""


@dataclass(frozen=True)
class AsBefore:
    """The option was added later: with `value` a point computes what it did before, and keeps the id that it had."""

    value: Any
