"""The examples in the docstrings are run, module by module."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import decompositions

MODULES = [module.name for module in pkgutil.walk_packages(decompositions.__path__, "decompositions.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_examples_are_found():
    """Decorated functions included, which the tests' own import hook wraps."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {test.name for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples}
    assert {f"decompositions.{name}" for name in WANTED} <= found


WANTED = (
    "core.frontier.Frontier",
    "core.frontier.pareto_frontier",
    "core.site.survey",
    "linalg.tensorize.balanced",
    "network.compress.compress",
    "rank_search.budget.Budget",
    "svd.SVD",
)
