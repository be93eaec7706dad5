"""The examples in docstrings say what is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import runtime

MODULES = [module.name for module in pkgutil.walk_packages(runtime.__path__, "runtime.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [each for name in MODULES for each in finder.find(importlib.import_module(name)) if each.examples]
    assert len(examples) >= 10
