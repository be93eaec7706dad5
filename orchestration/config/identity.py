"""The identity of a point: the part of its configuration that says what is computed. Its id is a digest of this part.

    {"seed": 0, "dataset": {"_name_": "mnist", "padding": 0}, "network": {"_name_": "lenet300"}, …}

A class of this project is known by the name that was chosen for it, under `_name_`, and not by its import path: modules
and classes may move and be renamed. Where the name does not explain the class (a file of the user's that names a class
of ours, a `_target_` typed on the command line) the option of conf/ that stands for this class is added. An import path
of anybody else's is a value like any other.

Options marked `NotIdentity` are left out, and so are those marked `AsBefore(value)` that have this value, so that an
option which is added later changes no id, and those marked `CountsInOthers` (see `runtime.identity`).

Devices and machines make processes, each of which shows batch norms and dropout only its share of a batch: their number
counts, unless it is 1. The kind of device does not count for a method that trains nothing (`trains` in its class).
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.config.marks import Marks, marks_of
from orchestration.config.options import kind_of, target_of
from orchestration.config.shared import shared_signature
from orchestration.config.signatures import Signature, canonical, class_constants, read_signature
from runtime.own_modules import OWN_MODULES

NAME, TARGET = "_name_", "_target_"
# Hydra's own keys, and the values that they have where nobody gives them.
HYDRAS_DEFAULTS = {TARGET: None, "_partial_": False, "_convert_": "none", "_recursive_": True}
Choice = tuple[str, str]


@dataclass(frozen=True)
class Identity:
    """The `content` that is computed, and the dotted keys that were `left_out`."""

    content: dict[str, Any]
    left_out: tuple[str, ...]


def identify(settings: Mapping[str, Any], target: str, choices: Mapping[str, Choice]) -> Identity:
    """Return the identity of resolved `settings`, which are the arguments of `target`.

    `choices` maps dotted keys to the group and option that were chosen there, `{"dataset": ("dataset", "mnist"),
    "schedule.reference.decay": ("decay", "cosine")}`; without choices, classes are known by the options of conf/.
    """
    left_out: list[str] = []

    def of_value(place: str, value: Any, annotation: ast.expr | None = None) -> Any:
        if isinstance(value, Mapping):
            if TARGET in value:
                return of_target(place, value, annotation)
            return {str(key): of_value(_below(place, str(key)), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [of_value(_below(place, str(index)), item) for index, item in enumerate(value)]
        return value

    def of_target(place: str, node: Mapping[str, Any], annotation: ast.expr | None) -> dict[str, Any]:
        path = canonical(str(node[TARGET]))
        found: dict[str, Any] = dict(_class(path, choices.get(place), annotation)) if place else {}
        options = _shared_options(annotation) | _options(path)
        for key, value in node.items():
            if key in HYDRAS_DEFAULTS:
                # The check of a configuration sees to it that `_partial_` stands where the annotation wants it.
                is_fixed = key == TARGET or (key == "_partial_" and annotation is not None)
                found |= {} if is_fixed or value == HYDRAS_DEFAULTS[key] else {key: value}
                continue
            marks, taken = options.get(key, (Marks(), None))
            if not marks.counts:
                left_out.append(_below(place, key))
            elif not marks.in_others and not marks.is_as_before(value):
                found[key] = of_value(_below(place, key), value, taken)
        return found

    content = of_target("", {**settings, TARGET: target}, None)
    for group in ("decomposition", "rank", "metric"):  # a method repeats them: `decomposition: ${decomposition}`
        if group in content.get("method", {}) and settings["method"][group] == settings.get(group):
            del content["method"][group]
    _join_devices(content, left_out, trains=_trains(settings))
    return Identity(content, tuple(left_out))


@functools.cache
def _class(path: str, choice: Choice | None, annotation: ast.expr | None) -> dict[str, str]:
    """Return what tells the class at a place: the option chosen there, and more only where that does not say it."""
    named = {} if choice is None else {NAME: choice[1]}
    if path.partition(".")[0] not in OWN_MODULES:
        return named | {TARGET: path}
    is_explained = canonical(target_of(*choice) or "") == path if choice else _names_class(annotation, path)
    return named if is_explained else named | {TARGET: kind_of(path) or path}


@functools.cache
def _names_class(annotation: ast.expr | None, path: str) -> bool:
    """Return True if an argument takes this very class (`reference: Phase`), so that its place says which it is."""
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)} if annotation is not None else ()
    return path.rpartition(".")[2] in names


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
    return TARGET not in method or class_constants(method[TARGET]).get("trains", True) is not False


@functools.cache
def _options(target: str) -> dict[str, tuple[Marks, ast.expr | None]]:
    """Return the marks and the annotation of each argument of `target`; nothing for code that cannot be read."""
    try:
        signature = read_signature(target)
    except (LookupError, SyntaxError):  # the check of the configuration has said so
        return {}
    return {} if signature is None else _marked(signature)


@functools.cache
def _shared_options(annotation: ast.expr | None) -> dict[str, tuple[Marks, ast.expr | None]]:
    """Return the same of the options that all choices at a place share."""
    shared = shared_signature(annotation)
    return {} if shared is None else _marked(shared)


def _marked(signature: Signature) -> dict[str, tuple[Marks, ast.expr | None]]:
    parameters = signature.inherited | signature.parameters
    return {name: (marks_of(signature, name), parameter.annotation) for name, parameter in parameters.items()}


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
