"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest

import pytest

from evaluation import name, statistics


@pytest.mark.parametrize("module", [name, statistics])
def test_examples_are_true(module):
    failed, attempted = doctest.testmod(module)
    assert attempted and not failed
