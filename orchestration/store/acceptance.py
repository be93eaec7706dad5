"""Is a row that says ok this point's, and whole? A copied folder, or a file of another point, must not count as done.

Torch-free and cheap, as a plan asks it of thousands of points: of the network only the table of its records is read,
whose digest the row holds. The records themselves are checked when the network is loaded.
"""

from __future__ import annotations

import math
from pathlib import Path
from zipfile import is_zipfile

from evaluation.result import Measure, Result
from orchestration.config.point import Point
from runtime.zip_records import records_digest


def refusal(point: Point, row: Result, network: Path) -> str | None:
    """Return why an ok `row` with its `network` is not the finished row of `point`; None if it is."""
    for name, own in (("id", point.id), ("variant", point.variant), ("seed", point.config["seed"])):
        if (found := getattr(row, name)) != own:
            return f"its row is of another point ({name} {found}, expected {own})"
    for name in ("reference", "compressed"):
        if (measure := getattr(row, name)) is None:
            return f"its row says ok and has no measures of the {name} network"
        if not _has_accuracies(measure):
            return f"its row says ok and has no accuracy of the {name} network"
    try:
        has_no_digest = row.network_digest is None  # a row of an earlier release
        is_own = network.is_file() and (  # of a pipe nothing comes
            is_zipfile(network) if has_no_digest else records_digest(network) == row.network_digest
        )
    except (OSError, ValueError):
        is_own = False
    if not is_own:
        return f"{network.name} is not there, is damaged, or is another one than its row was written for"
    return None


def _has_accuracies(measure: Measure) -> bool:
    return math.isfinite(measure.test_top1_percent) and math.isfinite(measure.validation_top1_percent)
