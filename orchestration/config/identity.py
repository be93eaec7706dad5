"""The identity of a point: the part of its configuration that says what is computed, and that ids are digests of.

A class of this project is known by the name that was chosen for it, `dataset: mnist`, which stands under `_name_` in
the place of its import path: modules and classes may move and change their names. An import path of anybody else's, or
one typed on the command line, is a value like any other. Options marked `NotIdentity` are left out, and so are those
marked `AsBefore(value)` that have this value, so that an option which is added later changes no id (see
`runtime.identity`).

Two rules join several options. Devices and machines make processes, each of which shows batch norms and dropout its
share of a batch alone: their number counts, unless it is 1. And where a method trains nothing (`trains = False` in its
class) its numbers do not depend on the kind of device.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.config.annotations import alias
from orchestration.config.signatures import Signature, class_constants, read_signature
from orchestration.paths import OWN_PACKAGES

NAME = "_name_"
HYDRAS_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_")


@dataclass(frozen=True)
class Marks:
    """The marks of an option: whether it `counts`, and the value with which it does not (none or one)."""

    counts: bool = True
    as_before: tuple[Any, ...] = ()


@dataclass
class Identity:
    """The `content` that is computed, and the dotted keys that were `left_out`."""

    content: dict[str, Any]
    left_out: list[str] = field(default_factory=list)


def identify(settings: Mapping[str, Any], target: str, names: Mapping[str, str], typed: Collection[str]) -> Identity:
    """Return the identity of resolved `settings`, the arguments of `target`.

    `names` maps dotted keys to the option that was chosen there, `{"dataset": "mnist", "schedule.reference.decay":
    "cosine"}`; `typed` are the keys whose `_target_` was given on the command line.
    """
    left_out: list[str] = []

    def of_value(place: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            if "_target_" in value:
                return of_target(place, value)
            return {str(key): of_value(_below(place, str(key)), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [of_value(f"{place}.{index}", item) for index, item in enumerate(value)]
        return value

    def of_target(place: str, node: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {NAME: names[place]} if place in names else {}
        path = str(node["_target_"])
        if place and (place in typed or path.partition(".")[0] not in OWN_PACKAGES):
            found["_target_"] = path
        signature = _signature(path)
        for key, value in node.items():
            if key in HYDRAS_KEYS:
                continue
            marks = marks_of(signature, key)
            if not marks.counts:
                left_out.append(_below(place, key))
            elif not any(_equal(value, known) for known in marks.as_before):
                found[key] = of_value(_below(place, key), value)
        return found

    content = of_target("", {**settings, "_target_": target})
    for group in ("decomposition", "rank"):  # a method repeats them: `decomposition: ${decomposition}`
        if group in content.get("method", {}) and settings["method"][group] == settings.get(group):
            del content["method"][group]
    _join_devices(content, left_out, trains=_trains(settings))
    return Identity(content, left_out)


def _join_devices(content: dict[str, Any], left_out: list[str], *, trains: bool) -> None:
    """Replace devices and machines by their product, and leave the kind of device out where it changes nothing."""
    trainer = content.get("trainer", {})
    processes = trainer.pop("devices", 1) * trainer.pop("num_nodes", 1)
    if processes > 1:
        trainer["num_processes"] = processes
    if not trains and trainer.pop("accelerator", None) is not None:
        left_out.append("trainer.accelerator")


def _trains(settings: Mapping[str, Any]) -> bool:
    method = settings.get("method", {})
    return bool(class_constants(method["_target_"]).get("trains", True)) if "_target_" in method else True


def marks_of(signature: Signature | None, key: str) -> Marks:
    """Return the marks of the argument `key`; none for code that cannot be read."""
    parameter = None if signature is None else signature.parameters.get(key)
    if signature is None or parameter is None or parameter.annotation is None:
        return Marks()
    return _marks(parameter.annotation, signature.module)


@functools.cache
def _marks(annotation: ast.expr, module: Path) -> Marks:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return _marks(ast.parse(annotation.value, mode="eval").body, module)
    if isinstance(annotation, ast.Name) and (value := alias(annotation.id, module)) is not None:
        return _marks(*value)
    calls = {ast.unparse(node.func): node for node in ast.walk(annotation) if isinstance(node, ast.Call)}
    before = (ast.literal_eval(calls["AsBefore"].args[0]),) if "AsBefore" in calls else ()
    return Marks("NotIdentity" not in calls, before)


def _equal(value: Any, known: Any) -> bool:
    """Compare as JSON does: 1 and 1.0 are equal, 1 and true are not."""
    return value == known and isinstance(value, bool) == isinstance(known, bool)


def _signature(target: str) -> Signature | None:
    try:
        return read_signature(target)
    except (LookupError, SyntaxError):  # the check of the configuration has said so
        return None


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
