"""The row that a point leaves behind: one `result.json`, raw values only; ratios and means are made by reports."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

# Rows whose schema has the same major number can be compared.
SCHEMA_VERSION = "1.2"


@dataclass(frozen=True)
class Measure:
    """What is known of one network. Accuracies in percent; `macs` of one sample; latency and memory as measured.

    `latency_ms` and `peak_memory_mib` map batch sizes to values. `num_nonzero` is None in rows older than schema 1.1.
    """

    test_top1_percent: float
    test_top5_percent: float | None
    test_loss: float
    validation_top1_percent: float
    num_params: int
    macs: int
    num_bytes: int
    latency_ms: dict[str, float]
    peak_memory_mib: dict[str, float]
    epochs: int
    seconds: float
    num_nonzero: int | None = None


# The choices that name every row.
NAMING = ("dataset", "network", "method")

# What a diverged network may leave undefined: null in the file, NaN in memory.
FLOATS = [f.name for f in dataclasses.fields(Measure) if f.type == "float"]


@dataclass(frozen=True)
class Result:
    """One point. `config` and `overrides` leave out what differs between machines.

    `status` is "ok", "diverged: …" or "failed: …"; what was not reached is None or empty. `seconds` are those of the
    last process, if a run was killed and went on; a `Measure` has those of all.
    `layers` maps each linear or convolution layer to its rank (None: dense), parameters, MACs and the reason why it
    stayed dense; `form` says what became of it where that is no rank. `history` has one entry per L step or stage.
    `violation` is `Σ‖W − Θ‖²` before the last factorisation. `reported` is what a paper says of this experiment (see
    `reported.Reported`).
    `reference` is the uncompressed network, measured in the same process as `compressed`.
    """

    id: str
    variant: str
    status: str
    choices: dict[str, str]
    seed: int
    config: dict[str, Any]
    overrides: list[str]
    signature: dict[str, str]
    environment: dict[str, Any]
    started: str
    seconds: float
    reference: Measure | None = None
    compressed: Measure | None = None
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    rank_reason: str | None = None
    violation: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    reported: dict[str, Any] | None = None
    schema_version: str = SCHEMA_VERSION

    @property
    def is_ok(self) -> bool:
        """Whether the point ran to its end."""
        return self.status == "ok"


def write_result(path: Path, result: Result) -> None:
    """Write atomically: a reader sees the old file, the new file or none, never a part."""
    write_json(path, dataclasses.asdict(result))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON in one atomic step; NaN and infinities become null, which strict readers accept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(_finite(value), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_result(path: Path) -> Result:
    """Read a row; raises `ValueError` for a file that is damaged, foreign or of another schema.

    Keys that a newer minor version may have are ignored.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = str(data["schema_version"])
        if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise ValueError(f"schema {version}, expected {SCHEMA_VERSION}")
        for measure in (data.get("reference"), data.get("compressed")):
            if measure is not None:
                measure.update({k: math.nan for k in FLOATS if measure.get(k, 0) is None})
        result = _adapter().validate_json(json.dumps(data), strict=True)
        _require_what_reports_read(result)
        return result
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: not a readable result ({where}: {first['msg']})") from None
    except (KeyError, TypeError, AttributeError, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable result ({type(error).__name__}: {error})") from None


def _require_what_reports_read(result: Result) -> None:
    if missing := [group for group in NAMING if group not in result.choices]:
        raise ValueError(f"choices without {', '.join(missing)}")
    for measure in filter(None, (result.reference, result.compressed)):
        for name in ("latency_ms", "peak_memory_mib"):
            sizes = getattr(measure, name)
            if not sizes or not all(size.isdecimal() for size in sizes):
                raise ValueError(f"{name}: expected batch sizes, got {list(sizes)}")


@functools.cache
def _adapter() -> Any:
    """Pydantic's reader of rows; making it takes as long as reading fifty."""
    return TypeAdapter(Result)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
