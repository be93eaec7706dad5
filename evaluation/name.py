"""Name an experiment in tables, logs and W&B."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

METHODS = Path(__file__).parent.parent / "conf" / "method"


def experiment_name(choices: Mapping[str, str]) -> str:
    """Return `dataset/network/method`, plus `+decomposition` where the method's YAML file chooses another one.

    >>> experiment_name({"dataset": "mnist", "network": "lenet5", "method": "svd", "decomposition": "tt"})
    'mnist/lenet5/svd+tt'
    """
    name = "/".join(choices[group] for group in ("dataset", "network", "method"))
    decomposition = choices.get("decomposition", "None")
    return name if decomposition in ("None", own_decomposition(choices["method"])) else f"{name}+{decomposition}"


def experiment_in(overrides: Iterable[str]) -> str | None:
    """Return the published row that a command asks for, the last if there are several; None if it asks for none.

    >>> experiment_in(["experiment=ic20/lenet300_lc_svd", "seed=1"])
    'ic20/lenet300_lc_svd'
    """
    asked = [value for key, _, value in (override.partition("=") for override in overrides) if key == "experiment"]
    return asked[-1] if asked and asked[-1] not in ("", "null") else None


@functools.cache
def own_decomposition(method: str) -> str | None:
    """Return the decomposition that a method's YAML file, or one that it builds on, chooses; None if there is none."""
    path = METHODS / f"{method}.yaml"
    if ".." in path.parts or not path.is_file():  # a row may name anything
        return None
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", []):
        if isinstance(entry, dict) and "override /decomposition" in entry:
            return entry["override /decomposition"]
        if isinstance(entry, str) and (inherited := own_decomposition(entry)):
            return inherited
    return None
