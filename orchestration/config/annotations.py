"""Annotations read from source: the type that pydantic validates, and the words for it in an error message."""

from __future__ import annotations

import ast
import builtins
import functools
import sysconfig
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import annotated_types
from pydantic import BeforeValidator

from orchestration.config.signatures import definition
from runtime.identity import AsBefore, NotIdentity
from runtime.shared_options import AlsoTakes

MARKS = {kind.__name__: kind for kind in (NotIdentity, AsBefore, AlsoTakes)}
SIGNS = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<", "MinLen": "length >=", "MaxLen": "length <="}


def evaluate(annotation: ast.expr, module: Path) -> Any:
    """Return the type that pydantic validates for an annotation read in `module`; one that cannot be read is `Any`."""
    try:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.parse(annotation.value, mode="eval").body
        return eval(compile(ast.Expression(annotation), str(module), "eval"), {}, _Names(module))
    except (TypeError, AttributeError, NameError, SyntaxError):
        return Any


def readable(annotation: ast.expr, module: Path) -> str:
    """Return an annotation in words: "int >= 1" for `Annotated[int, Ge(1)]`, also inside lists and under an alias."""
    if isinstance(annotation, ast.Name) and (value := alias(annotation.id, module)):
        return readable(*value)
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return f"{readable(annotation.left, module)} or {readable(annotation.right, module)}"
    if isinstance(annotation, ast.Subscript):
        parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        words = [readable(part, module) for part in parts]
        match ast.unparse(annotation.value).removeprefix("typing."):
            case "Annotated":
                bounds = [_bound(part) for part in parts[1:] if not _is_mark(part)]
                return f"{words[0]} {', '.join(bounds)}".strip()
            case "Optional":
                return f"{words[0]} or None"
            case "Union":
                return " or ".join(words)
            case "Literal":
                return " or ".join(ast.unparse(part) for part in parts)
            case "Callable":
                return words[-1]
            case name:
                return f"{name}[{', '.join(words)}]"
    return ast.unparse(annotation).strip("'\"")


@functools.cache
def is_called_later(annotation: ast.expr, module: Path) -> bool:
    """Return True if a parameter takes a function that is called later: something with `_partial_: true`."""
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    return "Callable" in names or any(is_called_later(*value) for n in names if (value := alias(n, module)))


def alias(name: str, module: Path) -> tuple[ast.expr, Path] | None:
    """Return the value of `name = …` or `name: TypeAlias = …` and the module where it stands; None if there is none."""
    found = definition(module, name)
    if found is not None and isinstance(found[0], ast.Assign | ast.AnnAssign) and found[0].value is not None:
        return found[0].value, found[1]
    return None


def _is_mark(part: ast.expr) -> bool:
    """Return True for a mark that bounds no value: `NotIdentity()`, `AsBefore(0)`, `AlsoTakes("…")`."""
    return isinstance(part, ast.Call) and ast.unparse(part.func) in MARKS


def _bound(call: ast.expr) -> str:
    """Return ">= 1" for `Ge(1)`."""
    if isinstance(call, ast.Call) and len(call.args) == 1:
        return f"{SIGNS.get(ast.unparse(call.func), ast.unparse(call.func))} {ast.unparse(call.args[0])}"
    return ast.unparse(call)


def _refuse_plain(value: Any) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        return value
    raise ValueError("expected a mapping with _target_")


# An annotation that names a class of ours or of a library: only something built from a `_target_` can be one.
Built = typing.Annotated[Any, BeforeValidator(_refuse_plain)]


def _takes_plain_values(node: ast.stmt, path: Path) -> bool:
    """Return True for a class whose value YAML can give: an enum, or one of Python's own (`numbers.Number`, …)."""
    is_enum = isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(base) for base in node.bases)
    return is_enum or path.parent == Path(sysconfig.get_path("stdlib"))


class _Callable:
    def __class_getitem__(cls, _: Any) -> Any:
        return Built


class _Names(dict[str, Any]):
    """Names an annotation may use: builtins, typing, annotated_types, aliases of its module; all others are `Built`."""

    def __init__(self, module: Path) -> None:
        super().__init__(vars(annotated_types) | {n: getattr(typing, n) for n in typing.__all__})
        self.update(Path=str, Sequence=list, Mapping=dict, Any=Any, Callable=_Callable, **MARKS)
        self.module = module

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)  # eval then looks in the builtins
        if value := alias(name, self.module):
            return evaluate(*value)
        found = definition(self.module, name)
        return Built if found is not None and not _takes_plain_values(*found) else Any
