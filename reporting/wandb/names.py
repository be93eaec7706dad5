"""What a row is called in Weights & Biases: the one place that live runs and rows sent later have their names from.

Pure functions of a row; nothing here needs wandb. A point is one run, whose id is the point's: a point that is killed
and goes on, and its row that is sent later, are the same run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.name import experiment_name
from evaluation.result import Result

# Where the summary says which row it mirrors.
DIGEST = "row"
# What the rows of `layers` hold, beside the name; a list as W&B's tables know no mappings.
LAYER_COLUMNS = ("rank", "params", "macs", "reason", "form")
# Parts of a row that have a place of their own: the configuration, the history, the table of layers.
NOT_SUMMARY = {
    *("id", "variant", "choices", "seed", "config", "overrides", "tags", "environment", "signature", "reported"),
    *("layers", "history", "schema_version"),
}


def run_arguments(
    point: str, choices: Mapping[str, str], seed: int, tags: Sequence[str], config: Mapping[str, Any]
) -> dict[str, Any]:
    """What `wandb.init` is told of a point: its id, name, group `dataset/network`, job type, tags, configuration."""
    return {
        "id": point,
        "name": f"{choices['method']}-{point}",
        "group": f"{choices['dataset']}/{choices['network']}",
        "job_type": experiment_name(choices).split("/")[-1],
        "tags": [*tags, f"seed={seed}", *(f"{group}={option}" for group, option in choices.items())],
        "config": {**config, "choices": dict(choices), "point": point},
    }


def arguments_of(result: Result) -> dict[str, Any]:
    """The same, of a row."""
    return run_arguments(result.id, result.choices, result.seed, result.tags, result.config)


def known_at_the_end(result: Result) -> dict[str, Any]:
    """The rest of a run's configuration: what only the row knows."""
    kept = ("variant", "overrides", "environment", "signature", "reported", "schema_version")
    return {key: _plain(getattr(result, key)) for key in kept}


def summary(result: Result) -> dict[str, Any]:
    """The numbers of a row under its own names, `compressed.latency_ms.1` nested as there; NaN is None, as there."""
    row = dataclasses.asdict(result)
    return {key: _plain(value) for key, value in row.items() if key not in NOT_SUMMARY} | {DIGEST: digest(result)}


def digest(result: Result) -> str:
    """Twelve hex digits of what a row says; a key that a newer schema adds, empty, changes nothing."""
    content = _without_empty(_plain(dataclasses.asdict(result) | {"schema_version": None}))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def layers(result: Result) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of the table of layers; ranks as text, because some are tuples."""
    lines = []
    for name, layer in result.layers.items():
        rank, *others = [layer.get(key) for key in LAYER_COLUMNS]
        lines.append([name, None if rank is None else str(rank), *others])
    return ["layer", *LAYER_COLUMNS], lines


def history(result: Result) -> list[dict[str, float]]:
    """The entries of a row's history under the names that training logs them with: `joint/violation`, `rank/fc1`."""
    return [_logged(entry) for entry in result.history]


def reference_curve(curve: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The entries of a reference's curve: `reference/epoch`, `reference/train_loss`, …"""
    return [_numbers({f"reference/{key}": value for key, value in entry.items()}) for entry in curve]


def _logged(entry: Mapping[str, Any]) -> dict[str, float]:
    stage = "joint" if "penalty" in entry else "gradual"
    ranks: dict[str, Any] = {}
    for name, rank in (entry.get("ranks") or {}).items():
        if isinstance(rank, list | tuple):
            ranks |= {f"rank/{name}/{mode}": r for mode, r in enumerate(rank)}
        else:
            ranks[f"rank/{name}"] = rank
    return _numbers({f"{stage}/{key}": value for key, value in entry.items()} | ranks)


def _numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    return {key: v for key, v in entry.items() if isinstance(v, int | float) and math.isfinite(v)}


def _plain(value: Any) -> Any:
    """As in result.json: text keys, lists, None for what is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(item) for key, item in value.items() if item not in (None, {}, [])}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value
