"""Marks on the annotation of an option: how it takes part in the identity (the id) of what is computed.

    num_workers: Annotated[int, Ge(0), NotIdentity()] = 0      reads the same data: left out of the id
    cutout: Annotated[int, Ge(0), AsBefore(0)] = 0             added later: 0 is left out, so that old ids stay

`orchestration.config.identity` reads them from the source, as it reads all annotations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NotIdentity:
    """The option only says where or how something runs: two points that differ in nothing else have one id."""


@dataclass(frozen=True)
class CountsInOthers:
    """Only other options are computed from this one, in YAML, and they count: left out of the id, and no more."""


@dataclass(frozen=True)
class AsBefore:
    """The option was added later: with `value` a point computes what it did before, and keeps its id."""

    value: Any
