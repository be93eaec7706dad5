"""A tree of small real image files, read anew by each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.memory.image_files import read_images
from tests.datamodules.memory.pictures import write_pictures


@pytest.fixture(autouse=True)
def read_images_anew():
    read_images.cache_clear()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")
