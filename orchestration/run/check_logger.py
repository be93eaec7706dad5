"""Refuse a logger that cannot work before anything trains; nothing is sent to find out."""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from orchestration.config.point import Point
from orchestration.errors import ConfigError, NotHere
from orchestration.run.wandb_logger import WandB
from reporting.wandb import variables
from reporting.wandb.login import require_address, require_key
from runtime.messages import first_line


def check_logger(point: Point) -> None:
    """Raise `ConfigError` for a class that is none, or a wrong WANDB_MODE, address or project.

    Raises `NotHere` where a key is missing: another machine may have it.
    """
    node = point.config["logger"]
    if node is None:
        return
    try:
        made = instantiate(node)
    except InstantiationException as error:
        raise ConfigError(f"logger: {first_line(error)}") from None
    if not is_wandb(made):
        return
    try:
        if variables.mode(node.get("offline")) != "online":
            return
        require_address(variables.project(node.get("project")))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    try:
        require_key()
    except ValueError as error:
        raise NotHere(str(error), "; or take logger=wandb_offline, which needs no account") from None


def is_wandb(made: Any) -> bool:
    """Return whether a logger's node, instantiated, makes the W&B logger of this suite."""
    return getattr(made, "func", None) is WandB
