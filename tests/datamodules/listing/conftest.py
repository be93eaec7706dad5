"""The tree of fourteen images, and both readers of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datamodules.listing.readers import in_memory, streamed
from tests.datamodules.listing.trees import write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree")


@pytest.fixture(params=[in_memory, streamed])
def load(request):
    return request.param
