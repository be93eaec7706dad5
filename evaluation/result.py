"""The row that a point leaves behind: one `result.json` of raw values; reports compute ratios and means."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from evaluation.bounds import (
    Amount,
    Count,
    Id,
    Key,
    Loss,
    Milliseconds,
    Name,
    Percent,
    is_rank,
    require_ranks,
    why_refused,
)
from evaluation.name import experiment_in
from runtime.atomic import atomic_write
from runtime.json_file import read_json
from runtime.json_trees import map_leaves

# Rows of one major version can be compared.
SCHEMA_VERSION = "1.3"


@dataclass(frozen=True)
class Measure:
    """All that is measured of one network; `macs` are those of one sample.

    `latency_ms` and `peak_memory_mib` map batch sizes to values, and so do `latency_quartiles_ms`, the spread of the
    rounds of one measurement; None in rows that were written before it was kept. `epochs` and `seconds` are those spent
    on the network.
    The accuracies `untuned_…` are those of factors that were found for trained weights, before they were trained; None
    where there are none, and in rows older than schema 1.3. `num_nonzero` is None in rows older than schema 1.1.
    """

    test_top1_percent: Percent
    test_top5_percent: Percent | None
    test_loss: Loss
    validation_top1_percent: Percent
    num_params: Count
    macs: Count
    num_bytes: Count
    latency_ms: dict[str, Milliseconds]
    peak_memory_mib: dict[str, Amount]
    epochs: Count
    seconds: Amount
    num_nonzero: Count | None = None
    latency_quartiles_ms: dict[str, tuple[Milliseconds, Milliseconds]] | None = None
    untuned_test_top1_percent: Percent | None = None
    untuned_validation_top1_percent: Percent | None = None


# The choices that name every row.
NAMING = ("dataset", "network", "method")

# The values that a diverged network may lack: null in the file, NaN in memory.
FLOATS = [f.name for f in dataclasses.fields(Measure) if f.type in ("Percent", "Loss", "Amount")]

STATUS = re.compile(r"ok|(diverged|failed|interrupted)(: .*)?", re.DOTALL)
SIZE = re.compile(r"[1-9][0-9]{0,6}")
# The parts of a configuration that reports look into.
SECTIONS = ("dataset", "network", "schedule", "method", "trainer")


@dataclass(frozen=True)
class Result:
    """The row of one point. `config` is the identity that `id` is a digest of; `overrides` compose it on any machine.

    `status` is "ok", "diverged: …" or "failed: …"; values that were not reached are None or empty. If a run was killed
    and resumed, `seconds` are those of the last process; a `Measure` has those of all. `reference` is the uncompressed
    network, measured in the same process as `compressed`. `layers` maps each linear or convolution layer to its rank
    (None: dense), parameters, MACs and the reason why it stayed dense; `form` names its new form where that is no rank.
    `history` has one entry per L step or stage. `violation` is `Σ‖W − Θ‖²` before the last factorisation, in the
    metric. `signature` has the split, what is counted, the latency protocol, the normalisation of pixels, and digests
    of the data, the untrained network and the file of its weights. `reported` is the published row of this experiment
    (`evaluation.reported.Reported`). `calibration` says how the metric was measured: part, samples, seed, seconds, and
    the sides of the moments of each layer's inputs. `network_digest` is that of the records of `network.pt`
    (`runtime.zip_records`); None where there is none, and in rows that were written before there was one.
    """

    id: Id
    variant: Id
    status: str
    choices: dict[Key, Name]
    seed: Count
    config: dict[str, Any]
    overrides: list[str]
    signature: dict[str, str]
    environment: dict[str, Any]
    started: str
    seconds: Amount
    reference: Measure | None = None
    compressed: Measure | None = None
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    rank_reason: str | None = None
    violation: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    reported: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    network_digest: str | None = None
    schema_version: str = SCHEMA_VERSION

    @property
    def is_ok(self) -> bool:
        """True if the point ran to its end."""
        return self.status == "ok"

    @property
    def is_smoke(self) -> bool:
        """True if only a few batches of each part were read (`trainer.limit_batches`): its accuracies mean nothing."""
        return self.config.get("trainer", {}).get("limit_batches") is not None

    @property
    def experiment(self) -> str | None:
        """The published row that the command asked for, `<paper>/<row>`; None if it asked for none."""
        return experiment_in(self.overrides)


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

    What it returns is within the bounds of the schema (`evaluation.bounds`): reports and sweeps need not look again.
    Keys of newer minor versions are ignored.
    """
    try:
        data = read_json(path)
        version = str(data["schema_version"])
        if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
            raise ValueError(f"schema {version[:20]}, expected {SCHEMA_VERSION}")
        for measure in (data.get("reference"), data.get("compressed")):
            if measure is not None:
                measure.update({k: math.nan for k in FLOATS if measure.get(k, 0) is None})
        result = _adapter().validate_json(json.dumps(data), strict=True)
        _require_what_reports_read(result)
        return result
    except (KeyError, TypeError, AttributeError, OSError, ValueError) as error:  # pydantic's is a ValueError
        raise ValueError(f"{path}: not a readable result ({why_refused(error)})") from None


def _require_what_reports_read(result: Result) -> None:
    if missing := [group for group in NAMING if group not in result.choices]:
        raise ValueError(f"choices without {', '.join(missing)}")
    if not STATUS.fullmatch(result.status):
        raise ValueError(f"status: expected ok, or diverged, failed or interrupted and why, got {result.status!r}")
    for section in SECTIONS:
        if not isinstance(result.config.get(section, {}), dict):
            raise ValueError(f"config.{section}: expected a mapping, got {result.config[section]!r}")
    for name in ("latency_ms", "peak_memory_mib"):
        measured = [getattr(measure, name) for measure in (result.reference, result.compressed) if measure]
        for sizes in measured:
            if not sizes or not all(map(SIZE.fullmatch, sizes)):
                raise ValueError(f"{name}: expected batch sizes, got {list(sizes)}")
            if set(sizes) != set(measured[0]):
                raise ValueError(f"{name}: expected the same batch sizes of both networks, got {list(sizes)}")
    for layer in result.layers.values():
        if not is_rank(layer["rank"]) or not isinstance(layer["reason"], str | None):
            raise ValueError(
                f"layers: expected a rank and a reason, or null, got {layer['rank']!r}, {layer['reason']!r}"
            )
    for entry in result.history:
        require_ranks(entry.get("ranks") or {})


@functools.cache
def _adapter() -> Any:
    """Return Pydantic's reader of rows; making it takes as long as reading fifty rows."""
    return TypeAdapter(Result)


def finite(leaf: Any) -> Any:
    """Return None for NaN and infinities, which JSON lacks, and any other leaf as it is."""
    return None if isinstance(leaf, float) and not math.isfinite(leaf) else leaf
