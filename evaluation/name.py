"""The name of an experiment in tables, logs and W&B."""

from __future__ import annotations

from collections.abc import Mapping


def experiment_name(choices: Mapping[str, str]) -> str:
    """`dataset/network/method`, and the decomposition where it is not the one that the method is named after."""
    name = "/".join(choices[group] for group in ("dataset", "network", "method"))
    decomposition = choices.get("decomposition", "None")
    return name if decomposition == "None" or decomposition in choices["method"] else f"{name}+{decomposition}"
