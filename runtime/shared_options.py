"""Options that all choices of a group take beside their own: `dataset.mean`, `network.weights`.

A mark on the annotation of the group names the class of these options, whose fields are their names, types and
defaults. `orchestration.config` reads it from the source, and parts the mapping in two before it builds anything.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AlsoTakes:
    """The mapping takes the fields of the dataclass `options`, a dotted path, beside the arguments of its target."""

    options: str
