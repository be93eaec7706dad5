"""Name the parts of a row in Weights & Biases, alike for live runs and for rows that are sent later.

These are pure functions of a row, without wandb. A point is one W&B run with the point's id: a point that is killed and
resumed, and its row that is sent later, are the same run.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.name import experiment_name
from evaluation.result import Result, finite
from reporting.tasks import plain_task
from runtime.digest import digest_bytes
from runtime.json_trees import map_leaves

# The key of the summary that holds the digest of the row.
DIGEST = "row"
# The columns of the table of layers after the name; W&B's tables hold lists, not mappings.
LAYER_COLUMNS = ("rank", "params", "macs", "reason", "form")
# Parts of a row that are not in the summary: they are in the configuration, the history or the table of layers.
NOT_SUMMARY = {
    *("id", "variant", "choices", "seed", "config", "overrides", "tags", "environment", "signature", "reported"),
    *("layers", "history", "schema_version"),
}


def run_arguments(
    point: str, choices: Mapping[str, str], seed: int, tags: Sequence[str], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of `wandb.init`: id, name, group `dataset/network`, job type, tags, configuration."""
    return {
        "id": point,
        "name": f"{choices['method']}-{point}",
        "group": plain_task(choices),
        "job_type": experiment_name(choices).split("/")[-1],
        "tags": [*tags, f"seed={seed}", *(f"{group}={option}" for group, option in choices.items())],
        "config": {**config, "choices": dict(choices), "point": point},
    }


def arguments_of(result: Result) -> dict[str, Any]:
    """Return `run_arguments` of a row."""
    return run_arguments(result.id, result.choices, result.seed, result.tags, result.config)


def final_config(result: Result) -> dict[str, Any]:
    """Return the part of a run's configuration that is known only once its row is written."""
    kept = ("variant", "overrides", "environment", "signature", "reported", "schema_version")
    return {key: map_leaves(finite, getattr(result, key)) for key in kept}


def summary(result: Result) -> dict[str, Any]:
    """Return the numbers of a row, named and nested as in result.json; what is not finite is None."""
    row = dataclasses.asdict(result)
    numbers = {key: map_leaves(finite, value) for key, value in row.items() if key not in NOT_SUMMARY}
    return numbers | {DIGEST: digest(result)}


def digest(result: Result) -> str:
    """Return twelve hex digits of a row's contents; an empty key that a newer schema adds changes nothing."""
    content = _without_empty(map_leaves(finite, dataclasses.asdict(result) | {"schema_version": None}))
    return digest_bytes([json.dumps(content, sort_keys=True).encode()])  # not `digest_json`: servers hold these digits


def layer_table(result: Result) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and the lines of the table of layers; ranks are text, because some are tuples."""
    lines = []
    for name, layer in result.layers.items():
        rank, *others = [layer.get(key) for key in LAYER_COLUMNS]
        lines.append([name, None if rank is None else str(rank), *others])
    return ["layer", *LAYER_COLUMNS], lines


def history(result: Result) -> list[dict[str, float]]:
    """Return the entries of a row's history under the names that training logs: `joint/violation`, `rank/fc1`."""
    return [_logged(entry) for entry in result.history]


def reference_curve(curve: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return the entries of a reference's curve as `reference/epoch`, `reference/train_loss`, …"""
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


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(item) for key, item in value.items() if item not in (None, {}, [])}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value
