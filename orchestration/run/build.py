"""Build the components of a point, and refuse combinations that make no sense before anything trains."""

from __future__ import annotations

import functools
import traceback
from dataclasses import dataclass
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.nn.parameter import UninitializedParameter

from datamodules.data import Data
from datamodules.normalisation import Normalisation
from decompositions.core.format import Format
from decompositions.core.metric import Metric
from decompositions.network.serialization import build_network
from decompositions.rank_search.rule import RankRule
from lightning_modules.core.method import Method
from lightning_modules.training.checkpoint import Checkpoint
from lightning_modules.training.determinism import refuse_irreproducible
from lightning_modules.training.runner import Runner, quiet_lightning
from lightning_modules.training.schedule import Schedule
from lightning_modules.training.trainer_config import TrainerConfig
from orchestration.config.point import Point
from orchestration.config.shared import split_options
from orchestration.errors import ConfigError, NotHere
from orchestration.run.check_logger import check_logger
from orchestration.run.rebuild import without_files
from orchestration.run.start import Start
from runtime.console import say
from runtime.distributed import group
from runtime.messages import first_line

# Arguments of a logger that no configuration may give.
DECIDED_BY_THE_POINT = frozenset(("name", "group", "job_type", "tags", "config", "save_dir", "id", "version", "resume"))


@dataclass(frozen=True)
class Components:
    """The components of a point, ready to run; `builder` and `start` say how its untrained network is made."""

    data: Data
    schedule: Schedule
    method: Method
    trainer_config: TrainerConfig
    builder: dict[str, Any]
    start: Start

    @property
    def split(self) -> str:
        """The written split, and how much of it `trainer.limit_batches` leaves."""
        limit = self.trainer_config.limit_batches
        return self.data.split if limit is None else f"{self.data.split}; of each the first {limit} batches only"

    @functools.cached_property
    def rebuilder(self) -> dict[str, Any]:
        """The builder of a network file: without the weights to start from, because the file holds the state."""
        found, why = without_files(self.builder, self.data.input_shape)
        if why:
            say(
                f"note: network.pt needs the file that its builder reads: it cannot do without ({why}); give "
                "weights as network.weights"
            )
        return found

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
        return self.start.apply(build_network(self.builder))


def build_components(point: Point) -> Components:
    """Instantiate the components and try them together, untrained.

    Raises `ConfigError` with one line for a combination that makes no sense, and `NotHere` for data or devices that
    this machine lacks; devices are checked last.
    """
    config = point.config
    quiet_lightning()
    if given := sorted(DECIDED_BY_THE_POINT & set(config["logger"] or {})):
        raise ConfigError(f"logger.{given[0]}: the point decides this; use tags for words of your own")
    if group().rank == 0:  # the others do not log
        check_logger(point)
    dataset, normalisation = split_options(config["dataset"], Normalisation)
    data = _build(dataset, "dataset")
    _require("dataset", data, Data)
    try:
        data.prepare_data()  # some data know their shape only now
    except (ValueError, OSError) as error:
        raise NotHere(first_line(error)) from None
    try:
        data.normalise_by(normalisation)
    except ValueError as error:
        raise ConfigError(first_line(error)) from None
    network_node, start = split_options(config["network"], Start)
    arguments = {k: v for k, v in network_node.items() if not k.startswith("_")}
    if built := [key for key, value in arguments.items() if "'_target_'" in repr(value)]:
        raise ConfigError(f"network.{built[0]}: a network takes plain values, so that its file can build it again")
    shape = {"input_shape": list(data.input_shape), "num_classes": data.num_classes}
    components = Components(
        data,
        _build(config["schedule"], "schedule"),
        _build(config["method"], "method"),
        _build(config["trainer"], "trainer"),
        {"target": network_node["_target_"], "arguments": {**arguments, **shape}},
        start,
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
    _require_device(components, point.choices["method"], network)
    return components


def _require_device(components: Components, method: str, network: nn.Module) -> None:
    try:
        device = components.trainer_config.device()
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise NotHere(f"trainer: {first_line(error)}", " Take trainer=cpu, or trainer.accelerator=cpu") from None
    runs_on = getattr(components.method, "runs_on", None)
    if runs_on is not None and device.type not in runs_on:
        raise ConfigError(
            f"method {method}: expected a device of {', '.join(runs_on)}, got {device.type}; take trainer=cpu"
        )
    if components.trainer_config.deterministic and device.type == "cuda":
        try:
            refuse_irreproducible(network, components.data.input_shape)
        except ValueError as error:
            raise ConfigError(f"trainer.{first_line(error)}") from None


def _require(name: str, part: Any, role: type) -> None:
    if not isinstance(part, role):
        raise ConfigError(f"{name}: expected a {role.__name__}, got {type(part).__name__}; see conf/{name}/")


def _try_network(components: Components, what: str) -> nn.Module:
    """Build the network and pass samples, in training mode too; a mistake in its code becomes a line with its place."""
    try:
        network = components.network(0)
        if not isinstance(network, nn.Module):
            raise ValueError(f"expected an nn.Module, got {type(network).__name__}")
        if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
            raise ValueError("a network file has to build it again without data: give lazy layers their sizes")
        shape = components.data.input_shape
        with torch.no_grad():
            outputs = [
                (size, training, network.train(training)(torch.zeros(size, *shape)))
                for size, training in ((1, False), (2, False), (2, True))
            ]
    except Exception as error:
        raise ConfigError(f"{what}: {_blame(error)}") from None
    for size, training, output in outputs:
        expected = (size, components.data.num_classes)
        if not isinstance(output, torch.Tensor) or tuple(output.shape) != expected:
            got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            mode = " in training mode" if training else ""
            raise ConfigError(f"{what}: expected an output of {expected}{mode}, got {got}")
    return network.eval()


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
