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
    """Whether the option `counts`, and the values with which it does not."""

    counts: bool = True
    as_before: tuple[Any, ...] = ()

    def is_as_before(self, value: Any) -> bool:
        """Return True for a value that is left out: 1 and 1.0 are equal, 1 and true are not, lists equal tuples."""
        return any(_plain(value) == _plain(known) for known in self.as_before)


def marks_of(signature: Signature | None, key: str) -> Marks:
    """Return the marks of the argument `key`; none for code that cannot be read.

    Raises `ConfigError` for a mark whose value is no literal.
    """
    annotation = annotation_of(signature, key)
    if signature is None or annotation is None:
        return Marks()
    try:
        return _marks(annotation, signature.module)
    except (ValueError, IndexError):
        raise ConfigError(f"{key}: expected a literal in its mark, as in AsBefore(0) ({signature.module})") from None


def annotation_of(signature: Signature | None, key: str) -> ast.expr | None:
    """Return the annotation of the argument `key`; None if there is none, or the code cannot be read."""
    parameter = None if signature is None else {**signature.inherited, **signature.parameters}.get(key)
    return None if parameter is None else parameter.annotation


@functools.cache
def _marks(annotation: ast.expr, module: Path) -> Marks:
    """Collect marks through aliases, strings and unions; those of the items of a list are not the option's."""
    calls = list(_calls(annotation, module))
    before = [call for call in calls if _name(call) == "AsBefore"]
    values = tuple(ast.literal_eval((call.args or [keyword.value for keyword in call.keywords])[0]) for call in before)
    return Marks(not any(_name(call) == "NotIdentity" for call in calls), values)


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
