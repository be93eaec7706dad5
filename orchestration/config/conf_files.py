"""Files of conf/ read as YAML, without Hydra, which is slow for many: their content, and what they inherit."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestration.paths import CONF


@dataclass(frozen=True)
class ConfFile:
    """The `content` of a file, the `parents` that it inherits from, and the options that it chooses for groups."""

    content: dict[str, Any]
    parents: tuple[Path, ...]
    chosen: dict[str, str]


@functools.cache  # many files inherit from one
def read_conf_file(path: Path) -> ConfFile:
    """Return a file of conf/; raises `OSError` if there is none.

    In its defaults list, `joint` is a file beside it, `/paper/ic20` one below conf/, and `override /network: lenet5`
    chooses an option.

    >>> file = read_conf_file(CONF / "method" / "lc_svd.yaml")
    >>> [parent.stem for parent in file.parents], file.chosen
    (['joint'], {'decomposition': 'svd'})
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    parents: list[Path] = []
    chosen: dict[str, str] = {}
    for entry in content.get("defaults", ()):
        if isinstance(entry, dict):
            chosen |= {group.removeprefix("override /"): option for group, option in entry.items()}
        elif entry != "_self_":
            folder = CONF if entry.startswith("/") else path.parent
            parents.append(folder / f"{entry.removeprefix('/')}.yaml")
    return ConfFile(content, tuple(parents), chosen)
