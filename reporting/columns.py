"""The columns of tables, figures and the page: a function of a row's two networks each, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.result import Measure
from evaluation.statistics import Mean, geometric_mean, mean


@dataclass(frozen=True)
class Column:
    """A number of one row, `of(reference, compressed)`; `better` is None where neither more nor less is better.

    `is_measured_ratio`: a ratio of two measurements, whose mean is that of its logarithms, with an interval that is not
    symmetric. A ratio of counts has the usual mean.
    """

    of: Callable[[Measure, Measure], float]
    better: Literal["more", "less"] | None = None
    is_measured_ratio: bool = False

    def __call__(self, reference: Measure, compressed: Measure) -> float:
        """Return the number of a row's two networks."""
        return self.of(reference, compressed)

    def mean(self, values: Sequence[int | float]) -> Mean:
        """Return the mean of the numbers of several rows; raises `ValueError` if there are none."""
        return geometric_mean(values) if self.is_measured_ratio else mean(values)


def _ratio(before: int | float, after: int | float) -> float:
    """Return `before / after`; infinity where nothing is left, because every layer may have rank zero."""
    return before / after if after else math.inf


def _at(values: dict[str, float], which: Callable[[list[int]], int]) -> float:
    """Return the value at the smallest (`min`) or largest (`max`) batch."""
    return values[str(which([int(size) for size in values]))]


# Short words for the columns of a paper's table, as `--columns` takes them.
WORDS = {
    "error": "test error [%]",
    "top1": "top-1 [%]",
    "delta": "Δ reference",
    "params": "parameters",
    "params-ratio": "params ratio",
    "nonzero-ratio": "nonzero ratio",
    "bytes-ratio": "bytes ratio",
    "macs": "MACs",
    "macs-ratio": "MACs ratio",
    "latency": "latency, batch 1 [ms]",
    "latency-large": "latency, large batch [ms]",
    "speed-up": "speed-up, batch 1",
    "speed-up-large": "speed-up, large batch",
    "memory-ratio": "memory ratio",
    "seconds": "seconds",
    "epochs": "epochs",
}

COLUMNS = {
    "top-1 [%]": Column(lambda r, c: c.test_top1_percent, "more"),
    "Δ reference": Column(lambda r, c: c.test_top1_percent - r.test_top1_percent, "more"),
    "test error [%]": Column(lambda r, c: 100 - c.test_top1_percent, "less"),
    "untuned error [%]": Column(
        lambda r, c: math.nan if c.untuned_test_top1_percent is None else 100 - c.untuned_test_top1_percent, "less"
    ),
    "reference error [%]": Column(lambda r, c: 100 - r.test_top1_percent),
    "parameters": Column(lambda r, c: c.num_params, "less"),
    "params ratio": Column(lambda r, c: _ratio(r.num_params, c.num_params), "more"),
    "nonzero ratio": Column(
        lambda r, c: _ratio(r.num_params, c.num_params if c.num_nonzero is None else c.num_nonzero), "more"
    ),
    "bytes ratio": Column(lambda r, c: _ratio(r.num_bytes, c.num_bytes), "more"),
    "MACs": Column(lambda r, c: c.macs, "less"),
    "MACs ratio": Column(lambda r, c: _ratio(r.macs, c.macs), "more"),
    "speed-up, batch 1": Column(lambda r, c: _ratio(_at(r.latency_ms, min), _at(c.latency_ms, min)), "more", True),
    "speed-up, large batch": Column(lambda r, c: _ratio(_at(r.latency_ms, max), _at(c.latency_ms, max)), "more", True),
    "latency, batch 1 [ms]": Column(lambda r, c: _at(c.latency_ms, min), "less"),
    "latency, large batch [ms]": Column(lambda r, c: _at(c.latency_ms, max), "less"),
    "memory ratio": Column(lambda r, c: _ratio(_at(r.peak_memory_mib, max), _at(c.peak_memory_mib, max)), "more"),
    "seconds": Column(lambda r, c: c.seconds, "less"),
    "epochs": Column(lambda r, c: c.epochs),
}
