"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest

import pytest

from datamodules import batches, data


@pytest.mark.parametrize("module", [batches, data])
def test_examples_are_true(module):
    failed, attempted = doctest.testmod(module)
    assert attempted and not failed
