"""The row that a point leaves behind: one `result.json` of raw values; reports compute ratios and means."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from runtime.atomic import atomic_write
from runtime.json_trees import map_leaves

# Rows of one major version can be compared.
SCHEMA_VERSION = "1.3"


@dataclass(frozen=True)
class Measure:
    """All that is measured of one network; `macs` are those of one sample.

    `latency_ms` and `peak_memory_mib` map batch sizes to values. `epochs` and `seconds` are those spent on the network.
    The accuracies `untuned_…` are those of factors that were found for trained weights, before they were trained; None
    where there are none, and in rows older than schema 1.3. `num_nonzero` is None in rows older than schema 1.1.
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
    untuned_test_top1_percent: float | None = None
    untuned_validation_top1_percent: float | None = None


# The choices that name every row.
NAMING = ("dataset", "network", "method")

# The values that a diverged network may lack: null in the file, NaN in memory.
FLOATS = [f.name for f in dataclasses.fields(Measure) if f.type == "float"]


@dataclass(frozen=True)
class Result:
    """The row of one point. `config` is the identity that `id` is a digest of; `overrides` compose it on any machine.

    `status` is "ok", "diverged: …" or "failed: …"; values that were not reached are None or empty. If a run was killed
    and resumed, `seconds` are those of the last process; a `Measure` has those of all. `reference` is the uncompressed
    network, measured in the same process as `compressed`. `layers` maps each linear or convolution layer to its rank
    (None: dense), parameters, MACs and the reason why it stayed dense; `form` names its new form where that is no rank.
    `history` has one entry per L step or stage. `violation` is `Σ‖W − Θ‖²` before the last factorisation,
    in the metric. `reported` is
    the published row of this experiment (`evaluation.reported.Reported`). `calibration` says how the
    metric was measured: part, samples, seed, seconds, and the sides of the moments of each layer's inputs.
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
    calibration: dict[str, Any] | None = None
    schema_version: str = SCHEMA_VERSION

    @property
    def is_ok(self) -> bool:
        """True if the point ran to its end."""
        return self.status == "ok"


def write_result(path: Path, result: Result) -> None:
    """Write a row in one atomic step, as `write_json` does."""
    write_json(path, dataclasses.asdict(result))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON in one atomic step; NaN and infinities become null, which strict readers accept."""
    with atomic_write(path) as temporary:
        text = json.dumps(map_leaves(finite, value), indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_result(path: Path) -> Result:
    """Read a row; raise `ValueError` that names a damaged or foreign file, or one of another major schema version.

    Keys of newer minor versions are ignored.
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
    """Return Pydantic's reader of rows; making it takes as long as reading fifty rows."""
    return TypeAdapter(Result)


def finite(leaf: Any) -> Any:
    """Return None for NaN and infinities, which JSON lacks, and any other leaf as it is."""
    return None if isinstance(leaf, float) and not math.isfinite(leaf) else leaf
