"""The functions that our YAML files call.

`${scaled:300}`: epochs of a published recipe, shortened by `schedule.scale`; never below one.
`${gpus:gpu,2}`: how many GPUs a trainer of this accelerator and so many devices needs on a machine; null on the CPU.
`${cpus:4,2}`: how many CPUs it needs there, at four for each of two devices.
"""

from __future__ import annotations

import math
from typing import Any

from omegaconf import OmegaConf

READS = "schedule.scale"


def register() -> None:
    """Register all with OmegaConf; calling it again changes nothing."""
    OmegaConf.register_new_resolver("scaled", _scaled, replace=True)
    OmegaConf.register_new_resolver("gpus", _gpus, replace=True)
    OmegaConf.register_new_resolver("cpus", _cpus, replace=True)


def _scaled(epochs: int, *, _root_: Any) -> int:
    scale = OmegaConf.select(_root_, READS)
    if not isinstance(scale, int | float) or isinstance(scale, bool):
        raise ValueError(f"schedule.scale: expected a number, got {scale!r}")
    if not math.isfinite(scale):
        raise ValueError(f"schedule.scale: expected a finite number, got {scale!r}")
    return max(1, round(epochs * scale))


def _gpus(accelerator: str, devices: int) -> int | None:
    return None if accelerator == "cpu" else devices


def _cpus(each: int, devices: int) -> int:
    return each * devices
