"""The examples in docstrings say what is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import lightning_modules

MODULES = [module.name for module in pkgutil.walk_packages(lightning_modules.__path__, "lightning_modules.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [each for name in MODULES for each in finder.find(importlib.import_module(name)) if each.examples]
    assert len(examples) >= 5
