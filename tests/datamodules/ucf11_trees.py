"""UCF11 read from a small tree, and what it says of one that it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.video.ucf11 import UCF11

SMALL = {"height": 12, "width": 16}


def loaded(root: Path, **options) -> UCF11:
    data = UCF11(str(root), **SMALL | options)
    data.setup()
    return data


def refused(root: Path, **options) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        loaded(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
