"""Refuse a configuration whose keys or values its targets do not take, before anything heavy is imported.

Every mapping with a `_target_` is held against the signature of that target: unknown keys, missing keys, wrong types
and values out of range (`Annotated[int, Ge(1)]`, pydantic reads them) each become one line that says what was
expected, what was got and what to do. A mapping with `_partial_: true` may leave arguments for the caller to supply.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import json
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import annotated_types
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from orchestration.signatures import Signature, definition, read_signature

ROOT_TARGET = "orchestration.point.Settings"


class ConfigError(ValueError):
    """A configuration that must not run; one line per problem."""


def check(config: Mapping[str, Any], target: str = ROOT_TARGET) -> None:
    """Raise `ConfigError` naming every key and value of the resolved `config` that its targets refuse."""
    problems = list(_problems("", {**config, "_target_": target}, []))
    if problems:
        raise ConfigError("\n".join(problems))


def _problems(place: str, node: Mapping[str, Any], seen: list[Any]) -> Iterator[str]:
    if node in seen:  # `method.rank: ${rank}`: the same mapping again, and the same complaint
        return
    seen.append(node)
    target = node["_target_"]
    try:
        signature = read_signature(target)
    except LookupError as error:
        yield f"{place}._target_: '{target}' does not exist ({error})"
        return
    if signature is None:
        return
    given = {key: value for key, value in node.items() if not (key.startswith("_") and key.endswith("_"))}
    for key, value in given.items():
        path = f"{place}.{key}" if place else key
        if key in signature.parameters:
            yield from _value_problems(path, value, signature, key, seen)
            continue
        close = difflib.get_close_matches(key, signature.parameters, n=1, cutoff=0.8 if signature.is_open else 0.6)
        if close or not signature.is_open:  # a target with **kwargs takes all but what looks like a typo
            hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(signature.parameters)}"
            yield f"{path}: unknown key; {hint}"
    missing = [k for k, p in signature.parameters.items() if p.required and k not in given]
    if missing and not node.get("_partial_"):
        yield f"{place or 'config'}: {', '.join(missing)} must be given (an argument of {target})"


def _value_problems(path: str, value: Any, signature: Signature, key: str, seen: list[Any]) -> Iterator[str]:
    if value == "???":
        yield f"{path}: a value must be given, for example {path}=…"
        return
    if isinstance(value, Mapping) and "_target_" in value:
        yield from _problems(path, value, seen)
        return
    annotation = signature.parameters[key].annotation
    if annotation is None:
        return
    expected = _evaluate(annotation, signature.module)
    try:
        # JSON in strict mode: a list may become a tuple and an int a float, but "3" is no number and 1.5 no int.
        TypeAdapter(expected, config=ConfigDict(allow_inf_nan=False)).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        kinds = {e["type"] for e in error.errors()}
        remedy = "; choose one of the files of its folder in conf/" if "value_error" in kinds else ""
        yield f"{path}: expected {_readable(annotation, signature.module)}, got {value!r}{remedy}"


def _readable(annotation: ast.expr, module: Path) -> str:
    """`Annotated[int, Ge(1)]` as "int >= 1", also inside lists and under an alias; anything else as it is written."""
    found = definition(module, annotation.id) if isinstance(annotation, ast.Name) else None
    if found is not None and isinstance(found[0], ast.Assign):
        return _readable(found[0].value, found[1])
    if isinstance(annotation, ast.Subscript):
        parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        name = ast.unparse(annotation.value)
        if name == "Annotated":
            return f"{_readable(parts[0], module)} " + ", ".join(_bound(part) for part in parts[1:])
        if name != "Literal":
            return f"{name}[{', '.join(_readable(part, module) for part in parts)}]"
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return f"{_readable(annotation.left, module)} or {_readable(annotation.right, module)}"
    return ast.unparse(annotation).strip("'\"")


def _bound(call: ast.expr) -> str:
    """`Ge(1)` as ">= 1"."""
    if isinstance(call, ast.Call) and len(call.args) == 1:
        signs = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
        return f"{signs.get(ast.unparse(call.func), ast.unparse(call.func))} {ast.unparse(call.args[0])}"
    return ast.unparse(call)


def _refuse_plain(value: Any) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        return value
    raise ValueError("expected a mapping with _target_")


# An annotation that names a class of ours or of a library: only something built from a `_target_` can be one.
Built = typing.Annotated[Any, BeforeValidator(_refuse_plain)]


class _Names(dict[str, Any]):
    """Names an annotation may use: builtins, typing, annotated_types, aliases of its module; all others are `Built`."""

    def __init__(self, module: Path) -> None:
        super().__init__(vars(annotated_types) | {n: getattr(typing, n) for n in typing.__all__})
        self.update(Path=str, Sequence=list, Mapping=dict, Any=Any)
        self.module = module

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)  # eval then looks in the builtins
        found = definition(self.module, name)
        if found is not None and isinstance(found[0], ast.Assign):
            return _evaluate(found[0].value, found[1])
        return Built


def _evaluate(annotation: ast.expr, module: Path) -> Any:
    """Turn an annotation's syntax into a type that pydantic validates; an unreadable one accepts everything."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    try:
        return eval(compile(ast.Expression(annotation), str(module), "eval"), {}, _Names(module))
    except (TypeError, AttributeError, NameError):
        return Any
