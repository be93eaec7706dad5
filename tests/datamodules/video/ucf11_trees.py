"""UCF11 read from a small tree, and what it says of one that it refuses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from datamodules.video.ucf11 import UCF11
from tests.datamodules.refusals import refusal

SMALL = {"height": 12, "width": 16}


def loaded(root: Path, **options) -> UCF11:
    data = UCF11(str(root), **SMALL | options)
    data.setup()
    return data


refused = partial(refusal, loaded)
