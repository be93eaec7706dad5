"""ILSVRC2012 in small, as it is distributed and as people unpack it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.datamodules.streamed.imagenet_layouts import extract, flatten, write_official


@pytest.fixture(scope="session")
def official(tmp_path_factory) -> Path:
    return write_official(tmp_path_factory.mktemp("official"))


@pytest.fixture
def packed(official: Path, tmp_path: Path) -> Path:
    """A copy of the official files that a test may damage."""
    return Path(shutil.copytree(official, tmp_path / "packed"))


@pytest.fixture
def tree(official: Path, tmp_path: Path) -> Path:
    return extract(official, tmp_path / "tree")


@pytest.fixture
def flat(tree: Path, official: Path) -> Path:
    return flatten(tree, official)
