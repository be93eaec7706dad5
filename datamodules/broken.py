"""Files that cannot be decoded: refused by name before anything trains, or left out and counted in a written split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int64

from runtime.console import log
from runtime.messages import one_line

Broken = Literal["fail", "skip"]


def refuse_or_skip(place: str, fault: Exception | str, broken: Broken) -> None:
    """Raise `ValueError` that names the image at `place` and its `fault`, or say in one line that it is left out."""
    said = f"{place}: not a readable image ({one_line(fault) if isinstance(fault, Exception) else fault})"
    if broken == "fail":
        raise ValueError(
            f"{said}; fetch it again, mend or delete it, or leave such images out with dataset.broken=skip"
        )
    log.warning("%s; left out", said)


def describe(num_broken: Mapping[str, int]) -> str:
    """Return the words of a written split for the number of broken images in each part, or "" if there are none.

    >>> describe({"train": 2, "validation": 0, "test": 1})
    '; 3 broken images left out (2 train, 1 test)'
    """
    parts = ", ".join(f"{num} {part}" for part, num in num_broken.items() if num)
    return f"; {sum(num_broken.values())} broken images left out ({parts})" if parts else ""


def check_classes(name: str, classes: Sequence[str], labels: Mapping[str, Int64[np.ndarray, " sample"]]) -> None:
    """Raise `ValueError` for a class that has no readable image in one of the parts, whose `labels` are given."""
    for part, held in labels.items():
        if lost := set(range(len(classes))) - set(held.tolist()):
            raise ValueError(
                f"{name}: no image of class '{classes[min(lost)]}' in the {part} part can be read; put sound ones there"
            )
