"""Which class an option of conf/ stands for: the `_target_` of its file, inherited ones too, read without Hydra."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from orchestration.paths import CONF

# The groups whose options choose a class. Elsewhere the place itself says which class it is.
GROUPS_OF_CLASSES = ("dataset", "network", "method", "decomposition", "rank", "decay")


@functools.cache
def target_of(group: str, option: str, folder: Path = CONF) -> str | None:
    """Return the `_target_` that `<folder>/<group>/<option>.yaml` composes; None without such a file or target.

    >>> target_of("method", "lc_svd") == target_of("method", "joint")  # it inherits from that file
    True
    >>> target_of("method", "no_such_method") is None
    True
    """
    try:
        content: Any = yaml.safe_load((folder / group / f"{option}.yaml").read_text(encoding="utf-8")) or {}
    except OSError:
        return None
    node = content.get(group, content)  # a file of the package `_global_` holds its group as a key
    if isinstance(node, dict) and "_target_" in node:
        return str(node["_target_"])
    parents = [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    found = [target for parent in parents if (target := target_of(group, parent, folder)) is not None]
    return found[-1] if found else None


@functools.cache
def kind_of(target: str) -> str | None:
    """Return the first option of conf/ that stands for the class or function `target`, which may move and be renamed.

    >>> kind_of("networks.mlp.mlp")
    'network/mlp'
    """
    for group in GROUPS_OF_CLASSES:
        for path in sorted((CONF / group).glob("*.yaml")):
            if target_of(group, path.stem) == target:
                return f"{group}/{path.stem}"
    return None
