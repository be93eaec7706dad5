"""The environment variables of W&B that a run obeys, where its configuration leaves the choice to them.

wandb reads WANDB_ENTITY itself, and what else it knows; WANDB_DISABLED is that of many trainers, and wandb no longer
reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PROJECT = "compression-bench"
MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
TRUE = ("1", "true", "yes", "on")


def mode(offline: bool | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return "online", "offline" or "disabled".

    A run that is configured to be `offline` is; for others the environment decides, and where it says nothing they are
    offline (None) or online (False). Raises `ValueError` for a WANDB_MODE that is none.

    >>> mode(None, {}), mode(None, {"WANDB_MODE": "online"}), mode(True, {"WANDB_MODE": "online"})
    ('offline', 'online', 'offline')
    >>> mode(False, {}), mode(False, {"WANDB_MODE": "dryrun"}), mode(False, {"WANDB_DISABLED": "true"})
    ('online', 'offline', 'disabled')
    """
    if offline:
        return "offline"
    if environment.get("WANDB_DISABLED", "").lower() in TRUE:
        return "disabled"
    asked = environment.get("WANDB_MODE") or ("offline" if offline is None else "online")
    if asked not in MODES:
        raise ValueError(f"WANDB_MODE: expected online, offline or disabled, got {asked!r}")
    return MODES[asked]


def project(configured: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the project of a run: as configured, else WANDB_PROJECT, else compression-bench."""
    return configured or environment.get("WANDB_PROJECT") or PROJECT


def folder(directory: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Return where wandb writes: WANDB_DIR, or the `directory` of the point."""
    return Path(environment.get("WANDB_DIR") or directory)
