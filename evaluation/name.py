"""The name of an experiment in tables, logs and W&B."""

from __future__ import annotations

from collections.abc import Mapping


def experiment_name(choices: Mapping[str, str]) -> str:
    """`dataset/network/method`, and the decomposition where it is not the one that the method is named after.

    `admm_tucker` is named after `tucker2` too: digits do not count.
    """
    name = "/".join(choices[group] for group in ("dataset", "network", "method"))
    decomposition = choices.get("decomposition", "None")
    is_named = decomposition == "None" or decomposition.rstrip("0123456789") in choices["method"]
    return name if is_named else f"{name}+{decomposition}"
