"""Part the options that all choices of a group share (`runtime.shared_options`) from those of the one that is chosen.

An option of the same name that the chosen target takes itself is the target's.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from orchestration.config.signatures import Signature, read_signature

Options = TypeVar("Options")


def shared_signature(annotation: ast.expr | None) -> Signature | None:
    """Return the signature of the options that `AlsoTakes` in an annotation names; None where it has no such mark."""
    for node in ast.walk(annotation) if annotation is not None else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "AlsoTakes":
            return read_signature(ast.literal_eval(node.args[0]))
    return None


def split_options(node: Mapping[str, Any], kind: type[Options]) -> tuple[dict[str, Any], Options]:
    """Return what the target of a checked mapping takes, and the shared options of `kind`, a dataclass."""
    signature = read_signature(node["_target_"])
    own = set(signature.parameters if signature is not None else ())
    shared = {field.name for field in fields(kind)} - own  # type: ignore[arg-type]
    rest = {key: value for key, value in node.items() if key not in shared}
    return rest, kind(**{key: node[key] for key in shared & set(node)})
