"""Imports go one way: each package, and each room of a package, may use only those named here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

ALLOWED = {
    "runtime": set(),
    "decompositions": {"runtime", "evaluation"},
    "datamodules": {"runtime"},
    "networks": {"runtime"},
    "evaluation": {"runtime"},
    "reporting": {"runtime", "evaluation"},
    "lightning_modules": {"runtime", "decompositions", "datamodules", "evaluation"},
    "orchestration": {"runtime", "decompositions", "datamodules", "evaluation", "lightning_modules", "reporting"},
    "hydra_plugins": {"runtime", "orchestration"},
}
NOT_IN = {
    "runtime": {"pytorch_lightning", "hydra", "omegaconf", "wandb", "torchvision", "pydantic"},
    "decompositions": {"pytorch_lightning", "hydra", "omegaconf", "wandb", "torchvision", "pydantic"},
    "networks": {"pytorch_lightning", "hydra", "omegaconf", "wandb"},
    "evaluation": {"pytorch_lightning", "hydra", "omegaconf", "wandb"},
    "reporting": {"torch", "pytorch_lightning", "hydra", "omegaconf"},
    "datamodules": {"hydra", "omegaconf", "wandb"},
}
# The rooms of a package from the ground up: each may use itself and those before it. "*" stands for the modules on top:
# formats may use one another (CP writes matrices with the SVD), and so may methods.
ROOMS = {
    "decompositions": ["linalg", "layers", "core", "metrics", "rank_search", "*", "search", "network"],
    "lightning_modules": ["training", "core", "*"],
    "orchestration": ["errors", "paths", "config", "store", "distributed", "run", "sweep"],
}
# Modules on top that are no format and no method: they hand on what the rooms have.
FACES = {"decompositions/__init__.py", "decompositions/moved.py"}


def imports(path: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports, `from a import b` as `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(package: str, rest: list[str]) -> str:
    return rest[0] if rest and rest[0] in ROOMS[package] else "*"


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_between_packages(package):
    for path in (ROOT / package).rglob("*.py"):
        used = {name.partition(".")[0] for name in imports(path)}
        own = used & {*ALLOWED, "run", "report", "tests", "benchmarks"} - {package}
        assert own <= ALLOWED[package], f"{path} imports {own - ALLOWED[package]}"
        assert not used & NOT_IN.get(package, set()), f"{path} imports {used & NOT_IN[package]}"


@pytest.mark.parametrize("package", ROOMS)
def test_arrows_between_rooms(package):
    floors = {room: floor for floor, room in enumerate(ROOMS[package])}
    seen = set()
    for path in (ROOT / package).rglob("*.py"):
        if path.relative_to(ROOT).as_posix() in FACES:
            continue
        room = room_of(package, [part.removesuffix(".py") for part in path.relative_to(ROOT / package).parts])
        seen.add(room)
        for name in imports(path):
            first, *rest = name.split(".")
            if first == package:
                used = room_of(package, rest)
                assert floors[used] <= floors[room], f"{path}, in {room}, imports {name}, in {used}"
    assert seen - {"*"} == set(floors) - {"*"}


def test_formats_and_methods_alone_are_on_top():
    """`ls` shows them, each with its YAML file."""
    for package, group in (("decompositions", "decomposition"), ("lightning_modules", "method")):
        named = "\n".join(path.read_text() for path in (ROOT / "conf" / group).glob("*.yaml"))
        for path in (ROOT / package).glob("*.py"):
            if path.name != "__init__.py" and path.relative_to(ROOT).as_posix() not in FACES:
                assert f"_target_: {package}.{path.stem}." in named, f"no file of conf/{group} names {path}"


def test_every_package_is_listed_in_pyproject():
    import tomllib

    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {f"{package}*" for package in ALLOWED} | {"conf*"} == set(include)
