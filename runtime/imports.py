"""Import what a dotted path names, and refuse paths that a file or a configuration has no business with.

Calling whatever a file names is running code that somebody else chose. What is imported must be defined in a package
that is trusted, not only be found there: a module's names include all that it imports.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any


class Untrusted(ValueError):
    """A dotted path into a package that is not trusted."""


def is_of_python(path: str) -> bool:
    """Return True for a dotted path into Python's own library, where no network, format or method is.

    >>> is_of_python("posix.system"), is_of_python("networks.mlp.mlp")
    (True, False)
    """
    return path.partition(".")[0] in sys.stdlib_module_names


def import_named(path: str, trusted: Sequence[str] | None = None) -> Any:
    """Import the class or function that a dotted `path` names; it is not called.

    `trusted` are packages, or modules, that it must be defined in; None trusts all but Python's own library. Raises
    `Untrusted`, `ImportError` and `AttributeError`; nothing of an untrusted package is imported.
    """
    _require_trusted(path, path, trusted)
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    called = found
    while isinstance(called, partial):
        called = called.func
    defined_in = str(getattr(called, "__module__", None) or type(called).__module__)
    _require_trusted(path, f"{defined_in}.{name}", trusted)
    return found


def _require_trusted(path: str, origin: str, trusted: Sequence[str] | None) -> None:
    where = "" if path == origin else f", which is {origin}"
    if is_of_python(origin):
        raise Untrusted(f"'{path}'{where} is of Python's own library, and is not called")
    if trusted is not None and not any(f"{origin}.".startswith(f"{package}.") for package in trusted):
        raise Untrusted(
            f"'{path}'{where} is not of {', '.join(trusted)}; if you know where the file comes from, allow its code "
            f"with trust=['{origin.partition('.')[0]}']"
        )
