"""Build the parts of a point and refuse, before anything trains, what makes no sense together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from pytorch_lightning import Trainer
from torch import nn

from datamodules.in_memory import InMemoryData
from lightning_modules.method import Method
from lightning_modules.schedule import Schedule
from orchestration.point import Point
from orchestration.schema import ConfigError


@dataclass(frozen=True)
class Parts:
    """What a point is made of, ready to run; `builder` says how its network is built again in another process."""

    data: InMemoryData
    schedule: Schedule
    method: Method
    make_trainer: Callable[..., Trainer]
    builder: dict[str, Any]

    def network(self, seed: int) -> nn.Module:
        """A freshly initialised network; the same for the same seed."""
        torch.manual_seed(seed)
        return _resolve(self.builder["target"])(**self.builder["arguments"])


def assemble(point: Point) -> Parts:
    """Instantiate the parts and try them on each other, untrained; raises `ConfigError` in one line."""
    config = point.config
    if (devices := config["trainer"].get("devices", 1)) not in (1, "1"):
        raise ConfigError(f"trainer.devices: a point runs on one device, got {devices}; start several points instead")
    data = _build(config["dataset"], "dataset")
    arguments = {k: v for k, v in config["network"].items() if not k.startswith("_")}
    shape = {"input_shape": list(data.input_shape), "num_classes": data.num_classes}
    parts = Parts(
        data,
        _build(config["schedule"], "schedule"),
        _build(config["method"], "method"),
        _build(config["trainer"], "trainer"),
        {"target": config["network"]["_target_"], "arguments": {**arguments, **shape}},
    )
    try:
        network = parts.network(0).eval()
        with torch.no_grad():
            output = network(torch.zeros(1, *data.input_shape))
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"network {point.choices['network']} on {_shape(data)} images: {_first_line(error)}"
        ) from None
    if tuple(output.shape) != (1, data.num_classes):
        raise ConfigError(f"network: expected an output of {(1, data.num_classes)}, got {tuple(output.shape)}")
    try:
        parts.method.check(network, data.input_shape)
    except ValueError as error:
        raise ConfigError(f"method {point.choices['method']}: {_first_line(error)}") from None
    return parts


def _build(node: dict[str, Any], place: str) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise ConfigError(f"{place}: {_first_line(error.__cause__ or error)}") from None


def _resolve(target: str) -> Callable[..., nn.Module]:
    from hydra.utils import get_method

    return partial(get_method(target))


def _shape(data: InMemoryData) -> str:
    return "×".join(str(size) for size in data.input_shape)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
