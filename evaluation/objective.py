"""What a search minimises: one or several weighted sums of numbers of a row, none of them of the test part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from annotated_types import MinLen

from evaluation.result import Measure, Result

# The error of the compressed network on the validation part, and its share of the reference's size, all in percent.
Number = Literal["validation_error_percent", "params_percent", "macs_percent", "bytes_percent"]


class RowObjective(Protocol):
    """What `objective` in a configuration must be built from: values to be minimised, by name, of a row."""

    @property
    def names(self) -> list[str]: ...

    def __call__(self, row: Result) -> dict[str, float] | None: ...


@dataclass(frozen=True)
class Objective:
    """`minimise` names each objective and gives the weights of its sum, `{"error": {"validation_error_percent": 1}}`.

    Several are compared by dominance (`best`).
    """

    minimise: Annotated[dict[str, Annotated[dict[Number, float], MinLen(1)]], MinLen(1)]

    @property
    def names(self) -> list[str]:
        """The names of the objectives."""
        return list(self.minimise)

    def __call__(self, row: Result) -> dict[str, float] | None:
        """Return the value of each objective; None for a row that is not ok, lacks a measure, or has a NaN."""
        if not row.is_ok or row.compressed is None or row.reference is None:
            return None
        numbers = _numbers(row.compressed, row.reference)
        values = {
            name: sum(weight * numbers[number] for number, weight in weights.items())
            for name, weights in self.minimise.items()
        }
        return values if all(map(math.isfinite, values.values())) else None


VALIDATION_ERROR = Objective({"error": {"validation_error_percent": 1.0}})


def best(values: Iterable[Mapping[str, float]]) -> list[int]:
    """Return the indices of what nothing beats: the least value, or those that none dominates in several.

    >>> best([{"error": 2.0, "size": 9.0}, {"error": 3.0, "size": 9.0}, {"error": 5.0, "size": 1.0}])
    [0, 2]
    """
    points = [tuple(value.values()) for value in values]

    def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    return [i for i, point in enumerate(points) if not any(dominates(other, point) for other in points)]


def _numbers(compressed: Measure, reference: Measure) -> dict[str, float]:
    return {
        "validation_error_percent": 100 - compressed.validation_top1_percent,
        "params_percent": 100 * compressed.num_params / reference.num_params,
        "macs_percent": 100 * compressed.macs / reference.macs,
        "bytes_percent": 100 * compressed.num_bytes / reference.num_bytes,
    }
