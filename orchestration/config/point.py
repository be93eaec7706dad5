"""A point of a sweep: what is run (settings), its identity, and the one directory that holds its results.

Torch-free: a plan of thousands of points is made, checked and matched with finished results in milliseconds each.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evaluation.name import experiment_name
from orchestration.config import resolvers
from orchestration.config.validation import check
from orchestration.errors import ConfigError

if TYPE_CHECKING:  # roles that a `_target_` must fill; not imported, because they need torch
    from pytorch_lightning.loggers import Logger
    from torch.nn import Module

    from datamodules.data import Data
    from decompositions.core.format import Format
    from decompositions.rank_search.rule import RankRule
    from evaluation.reported import Reported
    from lightning_modules.core.method import Method
    from lightning_modules.training.schedule import Schedule
    from lightning_modules.training.trainer_config import TrainerConfig

GROUPS = ("dataset", "network", "method", "decomposition", "rank", "schedule")

# Options of data sets that say where their files are and how they are read: the same data come of them.
WHERE_THE_DATA_IS = ("dataset.root", "dataset.download", "dataset.cache", "dataset.num_workers")

# Where and how a point runs, not what it computes: two points that differ only here are the same point.
NOT_IDENTITY = (
    "logger", "launcher", "results_dir", "plan", "force", "fail_fast", "num_threads", "checkpoint_seconds", "tags",
    "reported",
    *WHERE_THE_DATA_IS,
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The root of a configuration: the keys of conf/config.yaml, and their types."""

    dataset: Data
    network: Callable[..., Module]
    schedule: Schedule
    method: Method
    trainer: TrainerConfig
    logger: Callable[..., Logger] | None
    seed: Annotated[int, Ge(0), Le(2**31 - 1)]
    num_threads: Annotated[int, Ge(1), Le(1024)] | None
    results_dir: Annotated[str, MinLen(1)]
    plan: bool
    force: bool
    fail_fast: bool
    tags: list[Annotated[str, MinLen(1), MaxLen(64)]]  # 64: the limit of W&B
    checkpoint_seconds: Annotated[float, Ge(0)]
    latency_batch_size: Annotated[int, Ge(2), Le(65536)]
    decomposition: Format | None = None
    rank: RankRule | None = None
    reported: Reported | None = None


@dataclass(frozen=True)
class Point:
    """One checked point: the resolved configuration, the names chosen in each group, and how it was asked for."""

    config: dict[str, Any]
    choices: dict[str, str]
    overrides: tuple[str, ...]

    @classmethod
    def from_hydra(cls, config: DictConfig, hydra: Any) -> Point:
        """Resolve and check a composed configuration; raises `ConfigError` with one line per problem."""
        point = cls.unchecked(config, hydra)
        return cls.checked(point.config, point.choices, point.overrides)

    @classmethod
    def unchecked(cls, config: DictConfig, hydra: Any) -> Point:
        """Resolve a composed configuration; raises `ConfigError` for what cannot be resolved."""
        resolvers.register()  # also in a worker process that never ran run.py
        try:
            own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            plain = OmegaConf.to_container(own, resolve=True)
        except OmegaConfBaseException as error:
            line = str(error).splitlines()[0].removeprefix("ValueError raised while resolving interpolation: ")
            raise ConfigError(line if (error.full_key or "") in line else f"{error.full_key}: {line}") from None
        choices = {group: str(hydra.runtime.choices.get(group)) for group in GROUPS}
        return cls(_with_string_keys(plain), choices, tuple(hydra.overrides.task))

    @classmethod
    def checked(cls, settings: dict[str, Any], choices: dict[str, str], overrides: tuple[str, ...]) -> Point:
        """A point of resolved settings; raises `ConfigError` with one line per problem."""
        check(settings)
        for group in ("decomposition", "rank"):
            if settings.get(group) is not None and group not in settings["method"]:
                raise ConfigError(f"{group}: method {choices['method']} has no use for one; leave it out")
        return cls(settings, choices, overrides)

    @functools.cached_property
    def id(self) -> str:
        """Twelve hex digits of the resolved configuration: equal points are one point."""
        return digest({"config": self.identity, "choices": self.choices})

    @property
    def variant(self) -> str:
        """The identity without the seed: points of one variant are repetitions of one experiment."""
        return digest({"config": without(self.identity, ("seed",)), "choices": self.choices})

    @property
    def identity(self) -> dict[str, Any]:
        """The configuration without where and how: what a row keeps, the same on every machine."""
        return without(self.config, NOT_IDENTITY)

    @property
    def identifying_overrides(self) -> list[str]:
        """The overrides that a row keeps: with these the point can be asked for again anywhere."""
        return [o for o in self.overrides if not is_of(o.lstrip("+~").split("=")[0], NOT_IDENTITY)]

    @property
    def directory(self) -> Path:
        """`<results_dir>/<dataset>/<network>/<method>/<id>`."""
        return self.results_dir / experiment_name(self.choices) / self.id

    @property
    def results_dir(self) -> Path:
        """The folder of all results, `~` resolved."""
        return Path(self.config["results_dir"]).expanduser()

    @property
    def label(self) -> str:
        """A short human name: `mnist/lenet300/lc_svd seed=0`."""
        return f"{experiment_name(self.choices)} seed={self.config['seed']}"


def is_of(key: str, keys: Sequence[str]) -> bool:
    """Whether a dotted key is one of `keys`, or below one."""
    return any(key == known or key.startswith(f"{known}.") for known in keys)


def without(config: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Copy `config` without the dotted `keys`; keys that are absent are ignored."""
    copy = json.loads(json.dumps(config))
    for key in keys:
        *parents, last = key.split(".")
        node = copy
        for parent in parents:
            node = node.get(parent) or {}
        node.pop(last, None)
    return copy


def digest(value: Any) -> str:
    """Twelve hex digits that equal values share, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(_canonical(value), sort_keys=True).encode()).hexdigest()[:12]


def _with_string_keys(value: Any) -> Any:
    """YAML allows `{1: 3}`; a row in JSON does not."""
    if isinstance(value, dict):
        return {str(key): _with_string_keys(item) for key, item in value.items()}
    return [_with_string_keys(item) for item in value] if isinstance(value, list) else value


def _canonical(value: Any) -> Any:
    """The same for `1` and `1.0`."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
