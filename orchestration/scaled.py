"""The resolver `${scaled:300}`: epochs of a published recipe, shortened by `schedule.scale`; never below one."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

READS = "schedule.scale"


def register() -> None:
    """Make `${scaled:n}` known to OmegaConf; registering twice changes nothing."""
    OmegaConf.register_new_resolver("scaled", _scaled, replace=True)


def _scaled(epochs: int, *, _root_: Any) -> int:
    scale = OmegaConf.select(_root_, READS)
    if not isinstance(scale, int | float) or isinstance(scale, bool):
        raise ValueError(f"schedule.scale: expected a number, got {scale!r}")
    return max(1, round(epochs * scale))
