"""Tables that the pages show: the files of a group of conf/, published rows, the fields of the row, a row.

Each is a function of the repository's root and of what stands in the page, `<!-- table conf/rank -->`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestration.config.published import described

PACKAGE = "# @package"
# How many entries of a dictionary of a row are shown; all of the others.
CUT = {"config": 3, "environment": 6, "layers": 1, "dataset": 2, "network": 2, "schedule": 2, "trainer": 2, "method": 2}


def table(root: Path, folder: str) -> str:
    """The options of a group, each with the comment that its file begins with."""
    group = folder.removeprefix("conf/")
    rows = [f"| `{path.stem}` | {_cell(description(path))} |" for path in _files(root, folder)]
    return "\n".join([f"| `{group}=` | what it is |", "| --- | --- |", *rows])


def files(root: Path, folder: str) -> str:
    """The files of a group, folded: every option with its default and what it means."""
    return "\n\n".join(
        f'??? note "{path.relative_to(root).as_posix()}"\n\n    ```yaml\n{_indented(path.read_text())}\n    ```'
        for path in _files(root, folder)
    )


def description(path: Path) -> str:
    """The comment lines that a YAML file begins with, in one line; raises `ValueError` if there are none."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(PACKAGE):
            continue
        if not line.startswith("#"):
            break
        words.append(line.removeprefix("#").strip())
    if not words:
        raise ValueError(f"{path}: expected a first line that says what it is")
    return " ".join(words)


def published(root: Path, _: str | None) -> str:
    """Every published row: what is run, what is reported, how that number is known, and its cost."""
    folder = root / "conf" / "experiment"
    head = "| `experiment=` | dataset, network, method | reported top-1 [%] | place, provenance | cost |"
    lines = [head, "| --- | --- | ---: | --- | --- |"]
    for path in sorted(folder.rglob("*.yaml")):
        chosen, reported = described(path)
        what = ", ".join(str(chosen[group]) for group in ("dataset", "network", "method"))
        top1 = "" if (found := reported.get("top1_percent")) is None else f"{found:g}"
        name = path.relative_to(folder).with_suffix("").as_posix()
        where = f"{reported['place']}; {reported['provenance']}"
        lines.append(f"| `{name}` | {what} | {top1} | {_cell(where)} | {_cell(str(reported['cost']))} |")
    return "\n".join(lines)


def fields(root: Path, target: str) -> str:
    """The fields of a dataclass with their types; their meaning is in its docstring, which follows."""
    module, _, name = target.rpartition(".")
    tree = ast.parse(root.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    lines = ["| field | type | if not reached |", "| --- | --- | --- |"]
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            default = "" if node.value is None else f"`{_default(node.value)}`"
            lines.append(f"| `{node.target.id}` | {_code(ast.unparse(node.annotation))} | {default} |")
    return "\n".join(lines) + f"\n\n{_undented(ast.get_docstring(found) or '')}"


def _default(value: ast.expr) -> str:
    """`field(default_factory=dict)` as `{}`; a name as it is written."""
    if isinstance(value, ast.Call):
        return {"dict": "{}", "list": "[]"}.get(ast.unparse(value.keywords[0].value), ast.unparse(value))
    return ast.unparse(value)


def row(root: Path, folder: str) -> str:
    """A committed row, long parts of it cut."""
    paths = sorted((root / folder).rglob("result.json"))
    found = next(content for path in paths if _is_typical(content := json.loads(path.read_text(encoding="utf-8"))))
    return f"```json\n{json.dumps(_short(found), indent=2, ensure_ascii=False)}\n```"


def _is_typical(content: dict[str, Any]) -> bool:
    return content["status"] == "ok" and content["choices"]["method"] == "lc_svd"


def _short(value: Any, name: str = "") -> Any:
    if isinstance(value, list):
        return [_short(item) for item in value[:1]] + (["…"] if len(value) > 1 else [])
    if isinstance(value, dict):
        kept = list(value)[: CUT.get(name)]
        return {key: _short(value[key], key) for key in kept} | ({"…": "…"} if len(kept) < len(value) else {})
    return value


def _files(root: Path, folder: str) -> list[Path]:
    found = sorted((root / folder).glob("*.yaml"))
    if not found:
        raise ValueError(f"{folder}: expected YAML files, found none")
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`{text}`"  # in code the tables of Python-Markdown take a bar as it is


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines())


def _undented(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


DIRECTIVES: dict[str, Callable[[Path, Any], str]] = {
    "table": table, "files": files, "published": published, "fields": fields, "row": row,
}  # fmt: skip
