"""The examples in docstrings are run: every module of the packages that has one, found by its prompt."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.documents import ROOT

PACKAGES = ("decompositions", "datamodules", "networks", "lightning_modules", "evaluation", "reporting")
PACKAGES += ("orchestration", "runtime")
PROMPT = ">>> "
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if PROMPT in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what an example writes
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert tried > 0, f"{name}: its examples are in no docstring"
    assert failed == 0


def test_a_wrong_example_is_seen(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrong_example.py").write_text('def one():\n    """\n    >>> one()\n    2\n    """\n    return 1\n')
    with pytest.raises(AssertionError):
        test_examples_of("wrong_example", tmp_path, monkeypatch)
