"""Refuse a configuration whose keys or values its targets do not take, before anything heavy is imported.

Every mapping with a `_target_` is held against the signature of that target: unknown keys, missing keys, wrong types
and values out of range (`Annotated[int, Ge(1)]`, pydantic reads them) each become one line that says what was
expected, what was got and what to do. Of Hydra's own keys two are known: `_target_`, and `_partial_: true`, which
leaves arguments to be supplied later and is there exactly where the parameter takes a `Callable`.
"""

from __future__ import annotations

import ast
import difflib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from orchestration.config.annotations import evaluate, is_called_later, readable
from orchestration.config.shared import shared_signature
from orchestration.config.signatures import Parameter, Signature, read_signature
from orchestration.errors import ConfigError
from orchestration.paths import CONF
from runtime.imports import is_of_python
from runtime.own_modules import hidden_by_own

Seen = dict[str, Signature]
NUM_REMEMBERED = 10_000  # mappings of a target that were found without fault


def check(config: Mapping[str, Any], target: str) -> None:
    """Raise `ConfigError` naming every key and value of the resolved `config` that its targets refuse."""
    seen: Seen = {}
    problems = list(_problems("", {**config, "_target_": target}, None, seen))
    if problems:
        raise ConfigError("\n".join(problems))
    for node, signature in seen.items():  # points of a sweep share most of their mappings
        if len(signature.faultless) < NUM_REMEMBERED:
            signature.faultless.add(node)


def unknown(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return what to do about a name that is not among the known ones.

    >>> unknown("wieght", ["weight", "of"])
    "did you mean 'weight'?"
    """
    known = [str(k) for k in known if not str(k).startswith("_")]
    if not known:
        return "there is none to give"
    close = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def _problems(
    place: str, node: Mapping[str, Any], is_partial: bool | None, seen: Seen, shared: Signature | None = None
) -> Iterator[str]:
    same = f"{place.split('.')[-1]} {is_partial} {json.dumps(node, sort_keys=True)}" if place else ""
    if same in seen:  # `method.rank: ${rank}`: the same mapping again, and the same complaint
        return
    path = f"{place}." if place else ""
    target = node["_target_"]
    if not isinstance(target, str):
        yield f"{path}_target_: expected the dotted path of a class or function, got {target!r}"
        return
    if is_of_python(target):
        yield f"{path}_target_: '{target}' is of Python's own library, and is not called; see conf/ for what there is"
        return
    if is_partial is not None and (given := node.get("_partial_", False)) is not is_partial:
        yield f"{path}_partial_: expected {str(is_partial).lower()}, got {given!r}"
        return
    try:
        signature = read_signature(target)
    except LookupError as error:
        yield f"{path}_target_: '{target}' does not exist ({error}){hidden_by_own(target)}"
        return
    except SyntaxError as error:
        yield f"{path}_target_: '{target}' cannot be read: {error.filename}:{error.lineno}: {error.msg}"
        return
    if signature is None or same in signature.faultless:
        return
    if place:
        seen[same] = signature
    values = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    common = {} if shared is None else shared.parameters
    for key, value in values.items():
        if key in signature.parameters:
            yield from _value_problems(path + key, value, signature.parameters[key], signature, seen)
            continue
        if shared is not None and key in common:
            yield from _value_problems(path + key, value, common[key], shared, seen)
            continue
        hint = unknown(key, [*signature.parameters, *common], cutoff=0.8 if signature.is_open else 0.6)
        # A target with **kwargs takes all but Hydra's keys and what looks like a typo.
        if not signature.is_open or key.startswith("_") or hint.startswith("did you mean"):
            yield f"{path}{key}: unknown key; {hint}"
    missing = [k for k, p in signature.parameters.items() if k not in values and p.required]
    if missing and not node.get("_partial_"):
        whose = f" (an argument of {target})" if place else ""
        yield f"{place or 'config'}: {', '.join(missing)} must be given{whose}"


@functools.cache
def _adapter(annotation: ast.expr, module: Path) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(evaluate(annotation, module), config=ConfigDict(allow_inf_nan=False))
    except PydanticUserError:  # an annotation that pydantic has no schema for
        return None


def _nested_problems(path: str, value: Any, seen: Seen) -> Iterator[str]:
    """Yield the problems of targets inside lists and plain mappings."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if isinstance(item, Mapping) and "_target_" in item:
            yield from _problems(f"{path}.{key}", item, None, seen)
        else:
            yield from _nested_problems(f"{path}.{key}", item, seen)


def _value_problems(path: str, value: Any, parameter: Parameter, signature: Signature, seen: Seen) -> Iterator[str]:
    if value == "???":
        yield f"{path}: a value must be given, for example {path}=…"
        return
    annotation = parameter.annotation
    if isinstance(value, Mapping) and "_target_" in value:
        is_partial = None if annotation is None else is_called_later(annotation, signature.module)
        yield from _problems(path, value, is_partial, seen, shared_signature(annotation))
        return
    yield from _nested_problems(path, value, seen)
    if annotation is None:
        return
    if (expected := _adapter(annotation, signature.module)) is None:
        return
    try:
        # JSON in strict mode: a list may become a tuple and an int a float, but "3" is no number and 1.5 no int.
        expected.validate_json(json.dumps(value), strict=True)
    except ValidationError:
        group = CONF / path.split(".")[-1]
        remedy = f"; choose one of the files in conf/{group.name}/" if group.is_dir() else ""
        yield f"{path}: expected {readable(annotation, signature.module)}, got {value!r}{remedy}"
