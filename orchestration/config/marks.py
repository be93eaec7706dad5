"""The marks of an option (`runtime.identity`), read from its annotation in the source."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.config.annotations import alias
from orchestration.config.signatures import Signature
from orchestration.errors import ConfigError
from runtime.json_trees import map_leaves

UNIONS = ("Optional", "Union")


@dataclass(frozen=True)
class Marks:
    """Whether the option `counts`, or does `in_others` alone, and the values with which it does not."""

    counts: bool = True
    in_others: bool = False
    as_before: tuple[Any, ...] = ()

    def is_as_before(self, value: Any) -> bool:
        """Return True for a value that is left out: 1 and 1.0 are equal, 1 and true are not, lists equal tuples."""
        return any(_plain(value) == _plain(known) for known in self.as_before)


def marks_of(signature: Signature, key: str) -> Marks:
    """Return the marks of the argument `key` or of one that a base takes; none for an argument of neither.

    Raises `ConfigError` for a mark whose value is no literal, or not the argument's default: without the option a point
    would then compute another thing than with that value, under one id.
    """
    parameter = signature.parameters.get(key) or signature.inherited.get(key)
    if parameter is None or parameter.annotation is None:
        return Marks()
    try:
        marks = _marks(parameter.annotation, signature.module)
    except (ValueError, IndexError):
        raise ConfigError(f"{key}: expected a literal in its mark, as in AsBefore(0) ({signature.module})") from None
    try:
        default = [] if parameter.default is None else [ast.literal_eval(parameter.default)]
    except ValueError:  # made by a function
        default = []
    if marks.as_before and not all(marks.is_as_before(value) for value in default):
        raise ConfigError(f"{key}: expected its default in its mark, AsBefore({default[0]!r}) ({signature.module})")
    return marks


@functools.cache
def _marks(annotation: ast.expr, module: Path) -> Marks:
    """Collect marks through aliases, strings and unions; those of the items of a list are not the option's."""
    calls = list(_calls(annotation, module))
    before = [call for call in calls if _name(call) == "AsBefore"]
    values = tuple(ast.literal_eval((call.args or [keyword.value for keyword in call.keywords])[0]) for call in before)
    names = {_name(call) for call in calls}
    return Marks("NotIdentity" not in names, "CountsInOthers" in names, values)


def _calls(annotation: ast.expr, module: Path) -> list[ast.Call]:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return _calls(ast.parse(annotation.value, mode="eval").body, module)
    if isinstance(annotation, ast.Name) and (value := alias(annotation.id, module)) is not None:
        return _calls(*value)
    if isinstance(annotation, ast.BinOp):
        return [*_calls(annotation.left, module), *_calls(annotation.right, module)]
    if not isinstance(annotation, ast.Subscript):
        return []
    parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    generic = ast.unparse(annotation.value).rpartition(".")[2]
    if generic == "Annotated":
        return [*_calls(parts[0], module), *(part for part in parts[1:] if isinstance(part, ast.Call))]
    return [call for part in parts for call in _calls(part, module)] if generic in UNIONS else []


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _plain(value: Any) -> Any:
    return map_leaves(lambda leaf: (isinstance(leaf, bool), leaf), value)
