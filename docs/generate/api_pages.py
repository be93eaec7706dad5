"""API pages from the tree: what conf/ names as a `_target_`, and the roles that such a target has.

A module that moves takes its `_target_` along, so no list here names one: roles are found by the name of their class.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

TARGET = re.compile(r"^\s*_target_:\s*([\w.]+)\s*$", re.MULTILINE)

# Who searches for a word wants the guides first.
LATE = "---\nsearch:\n  boost: 0.3\n---\n\n"

SHORT_NAME = "\n    options:\n      show_root_full_path: false\n\n"

# Page: title, what it says first, the role (package, class) and the folders of conf/ whose targets it shows.
PAGES = {
    "formats": ("Formats", "How a weight is written.", ("decompositions", "Format"), ["decomposition"]),
    "rank-rules": ("Rank rules", "How ranks are chosen.", ("decompositions", "RankRule"), ["rank"]),
    "metrics": ("Metrics", "Which errors of a weight matter.", ("decompositions", "Metric"), ["metric"]),
    "methods": ("Methods", "What trains when.", ("lightning_modules", "Method"), ["method"]),
    "datasets": ("Data sets", "What batches are.", ("datamodules", "Data"), ["dataset"]),
    "networks": ("Networks", "Functions that build a network.", None, ["network"]),
    "training": ("Schedules, decays, trainers", "How a phase is trained.", ("lightning_modules", "Schedule"),
                 ["decay", "trainer"]),
}  # fmt: skip


def api_pages(root: Path) -> dict[str, str]:
    """All API pages: `{name: Markdown}`."""
    pages = {f"api/{name}.md": _page(root, *about) for name, about in PAGES.items()}
    pages["api/python.md"] = _python(root)
    measured = [_defines(root, "evaluation", name) for name in ("Result", "Reported")]
    what = "The row that a point leaves behind, and what a paper reports of it."
    pages["api/results.md"] = f"# Results\n\n{what}\n\n" + _blocks(measured)
    return {name: LATE + text for name, text in pages.items()}


def _page(root: Path, title: str, what: str, role: tuple[str, str] | None, groups: list[str]) -> str:
    modules = sorted({_module(root, target) for group in groups for target in targets(root, group)})
    first = [_defines(root, *role)] if role else []
    return f"# {title}\n\n{what}\n\n" + _blocks([*first, *(name for name in modules if name not in first)])


def _blocks(modules: list[str]) -> str:
    return "\n\n".join(f"::: {name}" for name in modules) + "\n"


def targets(root: Path, group: str) -> list[str]:
    """Every `_target_` in the YAML files of one group."""
    files = sorted((root / "conf" / group).glob("*.yaml"))
    return [name for path in files for name in TARGET.findall(path.read_text(encoding="utf-8"))]


def _module(root: Path, target: str) -> str:
    """The module of a dotted path to a class or function; it may stand in a package's `__init__`."""
    parts = target.split(".")
    while parts and not _file(root, parts).is_file():
        parts.pop()
    if not parts:
        raise ValueError(f"{target}: no such module")
    return ".".join(parts)


def _file(root: Path, parts: list[str]) -> Path:
    path = root.joinpath(*parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _defines(root: Path, package: str, name: str) -> str:
    """The module below `package` that defines the class `name`."""
    found = [path for path in sorted((root / package).rglob("*.py")) if f"\nclass {name}" in path.read_text()]
    for path in found:
        if any(isinstance(node, ast.ClassDef) and node.name == name for node in ast.parse(path.read_text()).body):
            return ".".join(path.relative_to(root).with_suffix("").parts)
    raise ValueError(f"{package}: no module defines {name}")


def _python(root: Path) -> str:
    """The functions that the package `decompositions` itself offers, wherever they are defined."""
    tree = ast.parse((root / "decompositions" / "__init__.py").read_text())
    names = [f"{n.module}.{alias.name}" for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names]
    what = "`from decompositions import compress, initialise, materialize, load_network, save_network`: the whole\n"
    what += "interface for people who have a model; see [From Python](../guides/python.md).\n"
    names += [f"{_defines(root, 'decompositions', name)}.{name}" for name in ("CompressionReport", "LayerReport")]
    # Where a function is defined does not matter to who imports it from the package.
    return f"# From Python\n\n{what}\n" + _blocks(names).replace("\n\n", SHORT_NAME).rstrip() + SHORT_NAME
