"""Build the components of a point, and refuse combinations that make no sense before anything trains."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn

from datamodules.data import Data
from decompositions.core.format import Format
from decompositions.core.metric import Metric
from decompositions.network.serialization import build_network
from decompositions.rank_search.rule import RankRule
from lightning_modules.core.method import Method
from lightning_modules.training.checkpoint import Checkpoint
from lightning_modules.training.runner import Runner, quiet_lightning
from lightning_modules.training.schedule import Schedule
from lightning_modules.training.trainer_config import TrainerConfig
from orchestration.config.point import Point
from orchestration.errors import ConfigError
from runtime.messages import first_line

# Arguments of a logger that no configuration may give.
DECIDED_BY_THE_POINT = frozenset(("name", "group", "job_type", "tags", "config", "save_dir", "id", "version", "resume"))


class NotHere(ConfigError):
    """This machine lacks the data or the devices of a point; others may have them. `advice` is for this machine."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what}{advice}")
        self.what = what


@dataclass(frozen=True)
class Components:
    """The components of a point, ready to run; `builder` says how its untrained network is built."""

    data: Data
    schedule: Schedule
    method: Method
    trainer_config: TrainerConfig
    builder: dict[str, Any]

    @property
    def split(self) -> str:
        """The written split, and how much of it `trainer.limit_batches` leaves."""
        limit = self.trainer_config.limit_batches
        return self.data.split if limit is None else f"{self.data.split}; of each the first {limit} batches only"

    @property
    def rebuilder(self) -> dict[str, Any]:
        """The builder of a network file: without the weights to start from, because the file holds the state."""
        arguments = self.builder["arguments"]
        return self.builder | {"arguments": {**arguments, **({"weights": None} if "weights" in arguments else {})}}

    def runner(self, logger: Logger | None, seed: int, checkpoint: Checkpoint, stage: str = "method") -> Runner:
        """Return what trains and evaluates networks for one stage of a point."""
        return Runner(
            self.data,
            self.schedule,
            self.trainer_config,
            logger,
            seed,
            stage,
            build=lambda: self.network(seed),
            checkpoint=checkpoint,
        )

    def network(self, seed: int) -> nn.Module:
        """Return a freshly initialised network; the same for the same seed."""
        torch.manual_seed(seed)
        return build_network(self.builder)


def build_components(point: Point) -> Components:
    """Instantiate the components and try them together, untrained.

    Raises `ConfigError` with one line for a combination that makes no sense, and `NotHere` for data or devices that
    this machine lacks; devices are checked last.
    """
    config = point.config
    quiet_lightning()
    if given := sorted(DECIDED_BY_THE_POINT & set(config["logger"] or {})):
        raise ConfigError(f"logger.{given[0]}: the point decides this; use tags for words of your own")
    data = _build(config["dataset"], "dataset")
    _require("dataset", data, Data)
    try:
        data.prepare_data()  # some data know their shape only now
    except (ValueError, OSError) as error:
        raise NotHere(first_line(error)) from None
    arguments = {k: v for k, v in config["network"].items() if not k.startswith("_")}
    if built := [key for key, value in arguments.items() if "'_target_'" in repr(value)]:
        raise ConfigError(f"network.{built[0]}: a network takes plain values, so that its file can build it again")
    shape = {"input_shape": list(data.input_shape), "num_classes": data.num_classes}
    components = Components(
        data,
        _build(config["schedule"], "schedule"),
        _build(config["method"], "method"),
        _build(config["trainer"], "trainer"),
        {"target": config["network"]["_target_"], "arguments": {**arguments, **shape}},
    )
    roles: list[tuple[str, Any, type]] = [
        ("schedule", components.schedule, Schedule),
        ("method", components.method, Method),
        ("trainer", components.trainer_config, TrainerConfig),
        ("decomposition", getattr(components.method, "decomposition", None), Format),
        ("rank", getattr(components.method, "rank", None), RankRule),
        ("metric", getattr(components.method, "metric", None), Metric),
    ]
    for name, part, role in roles:
        if part is not None:
            _require(name, part, role)
    if (batch := components.schedule.batch_size) % (num := components.trainer_config.num_processes):
        devices = (
            "trainer.devices" if components.trainer_config.num_nodes == 1 else "trainer.devices × trainer.num_nodes"
        )
        raise ConfigError(f"schedule.batch_size: expected a multiple of the {num} {devices}, got {batch}")
    network = _try_network(components, f"network {point.choices['network']} on {_shape(data)} images")
    try:
        components.method.check(network, data.input_shape, components.schedule)
    except Exception as error:
        raise ConfigError(f"method {point.choices['method']}: {_blame(error)}") from None
    _require_device(components, point.choices["method"])
    return components


def _require_device(components: Components, method: str) -> None:
    try:
        device = components.trainer_config.device()
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise NotHere(f"trainer: {first_line(error)}", " Take trainer=cpu, or trainer.accelerator=cpu") from None
    runs_on = getattr(components.method, "runs_on", None)
    if runs_on is not None and device.type not in runs_on:
        raise ConfigError(
            f"method {method}: expected a device of {', '.join(runs_on)}, got {device.type}; take trainer=cpu"
        )


def _require(name: str, part: Any, role: type) -> None:
    if not isinstance(part, role):
        raise ConfigError(f"{name}: expected a {role.__name__}, got {type(part).__name__}; see conf/{name}/")


def _try_network(components: Components, what: str) -> nn.Module:
    """Build the network and pass one and two samples; a mistake in its code becomes one line with its place."""
    try:
        network = components.network(0)
        if not isinstance(network, nn.Module):
            raise ValueError(f"expected an nn.Module, got {type(network).__name__}")
        with torch.no_grad():
            outputs = {size: network.eval()(torch.zeros(size, *components.data.input_shape)) for size in (1, 2)}
    except Exception as error:
        raise ConfigError(f"{what}: {_blame(error)}") from None
    for size, output in outputs.items():
        expected = (size, components.data.num_classes)
        if not isinstance(output, torch.Tensor) or tuple(output.shape) != expected:
            got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise ConfigError(f"{what}: expected an output of {expected}, got {got}")
    return network


def _build(node: dict[str, Any], place: str) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        lines = [line for line in str(error).splitlines() if line and not line.startswith("Are you sure")]
        where = [line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")]
        said = " ".join(line for line in lines if not line.startswith("full_key:"))
        if isinstance(error.__cause__, ValueError):  # what our own say needs no wrapping
            said = first_line(error.__cause__)
        raise ConfigError(f"{'.'.join([place, *where])}: {said}") from None


def _shape(data: Data) -> str:
    return "×".join(str(size) for size in data.input_shape)


def _blame(error: Exception) -> str:
    """Return what went wrong, with type and place unless it is a `ValueError`, which our roles raise on purpose."""
    if type(error) is ValueError:
        return first_line(error)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "site-packages" not in f.filename and "<frozen" not in f.filename] or frames
    return f"{type(error).__name__}: {first_line(error)}  ({ours[-1].filename}:{ours[-1].lineno})"
