"""Read the parameters of an importable class or function from its source, without importing it.

The signature of a `_target_` is the schema of its YAML file: one fact in one place, and checking a configuration
costs no import of torch. Dataclass fields, `__init__` and plain functions are understood; names are followed
through re-exports (`from .x import Y`) and base classes.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestration.paths import ROOT


@dataclass(frozen=True)
class Parameter:
    """One argument: its annotation and its default as syntax, None if absent."""

    annotation: ast.expr | None
    default: ast.expr | None

    @property
    def required(self) -> bool:
        """Return True if a value must be given: `field(repr=False)` is no default."""
        text = "" if self.default is None else ast.unparse(self.default)
        return not text or (text.startswith("field(") and "default" not in text)


@dataclass(frozen=True)
class Signature:
    """The arguments of a target; `is_open` if it takes `**kwargs`; `module` is where its annotations are to be read."""

    parameters: dict[str, Parameter]
    is_open: bool
    module: Path
    inherited: dict[str, Parameter] = field(default_factory=dict)  # of the base: what `**kwargs` takes may go there
    faultless: set[str] = field(default_factory=set, compare=False)  # what `validation.check` has checked already


@functools.cache
def read_signature(target: str) -> Signature | None:
    """Return the signature of the dotted path `target`; None if its source cannot be read (compiled code).

    Raises `LookupError` if no such module or name exists, `SyntaxError` if the source is broken.
    """
    path, names = _locate(target)
    if path is None:
        return None
    found = definition(path, names[0])
    if found is None:
        if any(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in _statements(_parse(path).body)):
            return None  # it may come from what cannot be followed
        raise LookupError(f"no '{names[0]}' in {path.name}")
    node, path = found
    for name in names[1:]:
        node = next((n for n in getattr(node, "body", []) if getattr(n, "name", None) == name), None)  # type: ignore
        if node is None:
            raise LookupError(f"no '{name}' in '{names[0]}'")
    if isinstance(node, ast.ClassDef):
        return _class_signature(node, path)
    if isinstance(node, ast.FunctionDef):
        return _function_signature(node, path, skip_first=False)
    return None


@functools.cache
def canonical(target: str) -> str:
    """Return the dotted path where the class or function `target` of this project is defined: it may be re-exported.

    >>> canonical("decompositions.tucker2.SVD")
    'decompositions.svd.SVD'
    """
    try:
        path, names = _locate(target)
        found = definition(path, names[0]) if path is not None else None
    except (LookupError, SyntaxError):
        return target
    if found is None or len(names) > 1 or not found[1].is_relative_to(ROOT):
        return target
    module = ".".join(found[1].relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return f"{module}.{getattr(found[0], 'name', names[0])}"


@functools.cache
def class_constants(target: str) -> dict[str, object]:
    """Return the literal class variables of the class `target` itself, as in `trains: ClassVar[bool] = False`.

    A subclass inherits none: it may do what its base does not. The result is empty for what is no class, or cannot be
    found or read.
    """
    try:
        path, names = _locate(target)
        found = definition(path, names[0]) if path is not None else None
    except (LookupError, SyntaxError):
        return {}
    body = found[0].body if found is not None and isinstance(found[0], ast.ClassDef) else []
    return {
        item.target.id: item.value.value
        for item in body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        if isinstance(item.value, ast.Constant) and "ClassVar" in ast.unparse(item.annotation)
    }


def definition(path: Path, name: str) -> tuple[ast.stmt, Path] | None:
    """Find the statement that defines `name` in a module: class, function or assignment, through re-exports."""
    return _definition(path, name, frozenset())


def _definition(path: Path, name: str, above: frozenset[Path]) -> tuple[ast.stmt, Path] | None:
    if path in above:  # modules that import each other
        return None
    for node in _statements(_parse(path).body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node, path
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return node, path
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node, path
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) not in (name, "*") or not (source := _imported_file(path, node)):
                    continue
                wanted = name if alias.name == "*" else alias.name
                if found := _definition(source, wanted, above | {path}):
                    return found
    return None


def _locate(target: str) -> tuple[Path | None, list[str]]:
    """Return the file of the module in `package.module.Class.method`, and the names inside it."""
    package, *rest = target.split(".")
    try:
        spec = importlib.util.find_spec(package)  # finds a top-level package without importing it
    except ValueError:
        spec = None
    if spec is None or not rest:
        raise LookupError(f"no package '{package}'" if spec is None else f"'{target}' names no class or function")
    if not spec.submodule_search_locations:
        return (Path(spec.origin), rest) if spec.origin and spec.origin.endswith(".py") else (None, rest)
    folder = Path(next(iter(spec.submodule_search_locations)))
    while rest:
        if (folder / rest[0]).is_dir():
            folder, rest = folder / rest[0], rest[1:]
        elif (folder / f"{rest[0]}.py").is_file():
            return folder / f"{rest[0]}.py", _some(rest[1:], target)
        else:
            break
    init = folder / "__init__.py"
    if not init.is_file():
        raise LookupError(f"no module '{target}'")
    return init, _some(rest, target)


def _some(names: list[str], target: str) -> list[str]:
    if not names:
        raise LookupError(f"'{target}' is a module; expected a class or function in it")
    return names


def _imported_file(path: Path, node: ast.ImportFrom) -> Path | None:
    """Return the file that `from … import` reads: of a relative import, or of a package that can be located."""
    parts = node.module.split(".") if node.module else []
    if node.level:
        folder = path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
    elif parts:
        try:
            spec = importlib.util.find_spec(parts[0])
        except (ValueError, ImportError):
            return None
        if spec is None or not spec.submodule_search_locations:
            return None
        folder, parts = Path(next(iter(spec.submodule_search_locations))), parts[1:]
    else:
        return None
    base = folder.joinpath(*parts)
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file() and candidate != path:
            return candidate
    return None


@functools.cache
def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise SyntaxError("not UTF-8", (str(path), None, None, None)) from error


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield top-level statements, those under `if TYPE_CHECKING:` and `try:` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _statements(node.body)


def _class_signature(node: ast.ClassDef, path: Path) -> Signature | None:
    bases = [
        base
        for expr in node.bases
        if isinstance(expr, ast.Name) and (found := definition(path, expr.id)) and isinstance(found[0], ast.ClassDef)
        if (base := _class_signature(found[0], found[1])) is not None
    ]
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        parameters = {k: v for base in reversed(bases) for k, v in base.parameters.items()}
        for field in node.body:
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            default = ast.unparse(field.value) if field.value else ""
            if "ClassVar" in ast.unparse(field.annotation) or "init=False" in default:
                continue
            parameters[field.target.id] = Parameter(field.annotation, field.value)
        return Signature(parameters, is_open=False, module=path)
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            own = _function_signature(item, path, skip_first=True)
            if not own.is_open or not bases:
                return own
            return replace(own, inherited=bases[0].inherited | bases[0].parameters)
    return bases[0] if bases else None


def _function_signature(node: ast.FunctionDef, path: Path, *, skip_first: bool) -> Signature:
    args = node.args
    positional = [*args.posonlyargs, *args.args]
    defaults = [*[None] * (len(positional) - len(args.defaults)), *args.defaults, *args.kw_defaults]
    given = zip([*positional, *args.kwonlyargs], defaults, strict=True)
    parameters = {argument.arg: Parameter(argument.annotation, default) for argument, default in given}
    if skip_first:
        parameters.pop(positional[0].arg)
    return Signature(parameters, is_open=args.kwarg is not None, module=path)
