"""The modules at the top of this project: their names are short, and own code may have the same."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# `hydra_plugins` is a namespace that all plugins share.
OWN_MODULES = frozenset((
    "conf", "datamodules", "decompositions", "evaluation", "lightning_modules", "networks", "orchestration", "report",
    "reporting", "run", "runtime",
))  # fmt: skip


class OwnModulesFirst:
    """A finder for `sys.meta_path`: what is ours comes from our folder, whatever the path has before it."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of a module at the top of this project; None for all others."""
        return PathFinder.find_spec(name, [str(ROOT)]) if name in OWN_MODULES else None


def hidden_by_own(target: str) -> str:
    """Return a clause that names both places if the dotted path `target` may mean a module that ours hides; else ""."""
    name = target.partition(".")[0]
    if name not in OWN_MODULES:
        return ""
    for folder in sys.path:
        if Path(folder).resolve() == ROOT or (spec := PathFinder.find_spec(name, [folder])) is None:
            continue
        places = [spec.origin, *(spec.submodule_search_locations or ())]
        other = next((place for place in places if place is not None), None)
        if other is not None:
            return f"; '{name}' is this project's, in {ROOT}, and hides {other}: give yours another name"
    return ""
