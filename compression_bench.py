"""The installed command `compression-bench`: `run.py`, with what is ours before other modules of the same names."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the command."""
    folder = str(Path(__file__).resolve().parent)
    sys.path.insert(0, folder)  # for this import alone: in it lie all other packages that are installed, too
    from runtime.own_modules import OwnModulesFirst

    sys.path.remove(folder)
    sys.meta_path.insert(0, OwnModulesFirst)
    from run import main as run

    run()
