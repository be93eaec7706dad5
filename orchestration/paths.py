"""Paths of this suite: its root, its configurations, and the Python path that other processes need."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"


def python_path() -> str:
    """Return `PYTHONPATH` with this suite first, which need not be installed."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
