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
    own, parents = _read(folder / group / f"{option}.yaml", group)
    if own is not None:
        return own
    found = [target for parent in parents if (target := target_of(group, parent, folder)) is not None]
    return found[-1] if found else None


@functools.cache
def kind_of(target: str) -> str | None:
    """Return the first option of conf/ whose own file names `target`; the class may move and be renamed.

    Files that inherit from it do not count, so that a new one changes nothing.

    >>> kind_of("networks.mlp.mlp"), kind_of("lightning_modules.joint.Joint")
    ('network/mlp', 'method/joint')
    """
    for group in GROUPS_OF_CLASSES:
        for path in sorted((CONF / group).glob("*.yaml")):
            if _read(path, group)[0] == target:
                return f"{group}/{path.stem}"
    return None


@functools.cache
def _read(path: Path, group: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the `_target_` that a file itself names, and the options of its group that it inherits from."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError:
        return None, ()
    node = content.get(group, content)  # a file of the package `_global_` holds its group as a key
    parents = [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return node.get("_target_") if isinstance(node, dict) else None, tuple(parents)
