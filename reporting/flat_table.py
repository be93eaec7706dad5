"""All rows as one flat table, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation.result import Measure, Result
from reporting.markup import csv_escaped
from runtime.atomic import atomic_write


def flat_row(result: Result) -> dict[str, Any]:
    """Return the row without nesting; keys of the networks are `compressed.num_params`, `reference.latency_ms.1`, …"""
    row: dict[str, Any] = {"id": result.id, "variant": result.variant, **result.choices}
    row |= {"seed": result.seed, "status": result.status, "overrides": shlex.join(result.overrides)}
    row |= {"experiment": result.experiment, "smoke": result.is_smoke}
    row |= {"tags": " ".join(result.tags), "started": result.started, "seconds": result.seconds}
    row |= {key: _text(result.environment.get(key)) for key in ("commit", "device")}
    num_threads = result.environment.get("num_threads")
    row |= {"num_threads": num_threads if isinstance(num_threads, int) else None}  # a column has one type
    row |= {"violation": result.violation, "rank_reason": result.rank_reason}
    for side in ("reference", "compressed"):
        measure: Measure | None = getattr(result, side)
        for key, value in (dataclasses.asdict(measure) if measure else {}).items():
            parts = {f".{size}": v for size, v in value.items()} if isinstance(value, dict) else {"": value}
            if key == "latency_quartiles_ms":
                quarters = {size: zip((".first", ".third"), v, strict=True) for size, v in (value or {}).items()}
                parts = {f".{size}{which}": v for size, pair in quarters.items() for which, v in pair}
            row |= {f"{side}.{key}{size}": v for size, v in parts.items()}
    return row


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def write_flat_table(folder: Path, results: Sequence[Result]) -> list[Path]:
    """Write `rows.csv`, and `rows.parquet` where pyarrow is installed; return the files written."""
    rows = [flat_row(result) for result in results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    path = folder / "rows.csv"
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: csv_escaped(value) for name, value in row.items()} for row in rows)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return [path]
    columns = {name: [row.get(name) for row in rows] for name in names}
    with atomic_write(folder / "rows.parquet") as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)
    return [path, folder / "rows.parquet"]
