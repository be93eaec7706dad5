"""Which class an option of conf/ stands for: the `_target_` of its file, or of one that it inherits from."""

from __future__ import annotations

import functools
from pathlib import Path

from orchestration.config.conf_files import read_conf_file
from orchestration.paths import CONF

# The groups whose options choose a class. Elsewhere the place itself says which class it is.
GROUPS_OF_CLASSES = ("dataset", "network", "method", "decomposition", "rank", "metric", "decay")


@functools.cache
def target_of(group: str, option: str) -> str | None:
    """Return the `_target_` that conf/<group>/<option>.yaml composes; None without such a file or target.

    >>> target_of("method", "lc_svd") == target_of("method", "joint")  # it inherits from that file
    True
    >>> target_of("method", "no_such_method") is None
    True
    """
    path = CONF / group / f"{option}.yaml"
    if not path.is_file():  # of a folder of the user's
        return None
    if (own := _own_target(path)) is not None:
        return own
    found = [target_of(group, parent.stem) for parent in read_conf_file(path).parents]
    return next((target for target in reversed(found) if target is not None), None)


@functools.cache
def kind_of(target: str) -> str | None:
    """Return the first option of conf/ whose own file names `target`; the class may move and be renamed.

    Files that inherit from it do not count, so that a new one changes nothing.

    >>> kind_of("networks.mlp.mlp"), kind_of("lightning_modules.joint.Joint")
    ('network/mlp', 'method/joint')
    """
    for group in GROUPS_OF_CLASSES:
        for path in sorted((CONF / group).glob("*.yaml")):
            if _own_target(path) == target:
                return f"{group}/{path.stem}"
    return None


def _own_target(path: Path) -> str | None:
    """Return the `_target_` that a file itself names; one of the package `_global_` holds its group as a key."""
    content = read_conf_file(path).content
    node = content.get(path.parent.name, content)
    return node.get("_target_") if isinstance(node, dict) else None
