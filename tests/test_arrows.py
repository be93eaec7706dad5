"""Imports go one way: each package may use only those named here."""

from __future__ import annotations

import ast

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
    "decompositions": {"pytorch_lightning", "hydra", "omegaconf", "wandb", "torchvision", "pydantic"},
    "networks": {"pytorch_lightning", "hydra", "omegaconf", "wandb"},
    "evaluation": {"pytorch_lightning", "hydra", "omegaconf", "wandb"},
    "reporting": {"torch", "pytorch_lightning", "hydra", "omegaconf"},
    "datamodules": {"hydra", "omegaconf", "wandb"},
}


def imports(path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows(package):
    for path in (ROOT / package).rglob("*.py"):
        used = imports(path)
        own = used & {*ALLOWED, "run", "report", "tests", "benchmarks"} - {package}
        assert own <= ALLOWED[package], f"{path} imports {own - ALLOWED[package]}"
        assert not used & NOT_IN.get(package, set()), f"{path} imports {used & NOT_IN[package]}"


def test_every_package_is_listed_in_pyproject():
    import tomllib

    include = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {f"{package}*" for package in ALLOWED} | {"conf*"} == set(include)
