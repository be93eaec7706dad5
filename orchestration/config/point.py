"""A point of a sweep: what is run (settings), its identity, and the one directory that holds its results.

Torch-free: a plan of thousands of points is made, checked and matched with finished results in milliseconds each.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evaluation.name import experiment_name
from orchestration.config import resolvers
from orchestration.config.identity import Identity, identify
from orchestration.config.secrets import Masks, masked, masks_of
from orchestration.config.validation import check
from orchestration.errors import ConfigError
from runtime.decimals import as_meant
from runtime.digest import digest_json
from runtime.identity import AsBefore, NotIdentity
from runtime.json_trees import map_leaves
from runtime.messages import first_line
from runtime.shared_options import AlsoTakes

if TYPE_CHECKING:  # roles that a `_target_` must fill; not imported, because they need torch
    from pytorch_lightning.loggers import Logger
    from torch.nn import Module

    from datamodules.data import Data
    from decompositions.core.format import Format
    from decompositions.core.metric import Metric
    from decompositions.rank_search.rule import RankRule
    from evaluation.objective import RowObjective
    from evaluation.reported import Reported
    from lightning_modules.core.method import Method
    from lightning_modules.training.schedule import Schedule
    from lightning_modules.training.trainer_config import TrainerConfig

# The groups that a row names. The values of a schedule say all of it, so that its name is no part of an identity.
GROUPS = ("dataset", "network", "method", "decomposition", "rank", "metric", "schedule")
NAMED = ("dataset", "network", "method", "decomposition", "rank", "metric")
ROOT_TARGET = "orchestration.config.point.Settings"


@dataclass(frozen=True)
class Settings:
    """The root of a configuration: the keys of conf/config.yaml, and their types."""

    dataset: Annotated[Data, AlsoTakes("datamodules.normalisation.Normalisation")]
    network: Annotated[Callable[..., Module], AlsoTakes("orchestration.run.start.Start")]
    schedule: Schedule
    method: Method
    trainer: TrainerConfig
    logger: Annotated[Callable[..., Logger] | None, NotIdentity()]
    seed: Annotated[int, Ge(0), Le(2**31 - 1)]
    num_threads: Annotated[Annotated[int, Ge(1), Le(1024)] | None, NotIdentity()]
    results_dir: Annotated[str, MinLen(1), NotIdentity()]
    plan: Annotated[bool, NotIdentity()]
    force: Annotated[bool, NotIdentity()]
    fail_fast: Annotated[bool, NotIdentity()]
    tags: Annotated[list[Annotated[str, MinLen(1), MaxLen(64)]], NotIdentity()]  # 64: the limit of W&B
    checkpoint_seconds: Annotated[float, Ge(0), NotIdentity()]
    latency_batch_size: Annotated[int, Ge(2), Le(65536)]
    decomposition: Format | None = None
    rank: RankRule | None = None
    metric: Annotated[Metric | None, AsBefore(None)] = None
    reported: Annotated[Reported | None, NotIdentity()] = None
    objective: Annotated[RowObjective | None, NotIdentity()] = None


@dataclass(frozen=True)
class Point:
    """One checked point: its resolved configuration, and how it was asked for.

    `choices` has the option of each of `GROUPS`; `nested_choices` group and option at other places,
    `{"schedule.reference.decay": ("decay", "cosine")}`. `masks` stand for values of the
    environment in all that is written.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    nested_choices: dict[str, tuple[str, str]]
    overrides: tuple[str, ...]
    masks: Masks = ()

    @classmethod
    def from_hydra(cls, config: DictConfig, hydra: Any) -> Point:
        """Resolve and check a composed configuration; raises `ConfigError` with one line per problem."""
        return cls.unchecked(config, hydra).checked()

    @classmethod
    def unchecked(cls, config: DictConfig, hydra: Any) -> Point:
        """Resolve a composed configuration; raises `ConfigError` for what cannot be resolved."""
        resolvers.register()  # also in a worker process that never ran run.py
        try:
            own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            plain = OmegaConf.to_container(own, resolve=True)
            unresolved = OmegaConf.to_container(own, resolve=False)
        except OmegaConfBaseException as error:
            line = first_line(error).removeprefix("ValueError raised while resolving interpolation: ")
            raise ConfigError(line if (error.full_key or "") in line else f"{error.full_key}: {line}") from None
        chosen = hydra.runtime.choices
        choices = {group: str(chosen.get(group)) for group in GROUPS}
        groups = {str(key): str(option) for key, option in chosen.items() if "@" in str(key)}
        nested = {key.partition("@")[2]: (key.partition("@")[0], option) for key, option in groups.items()}
        settings = map_leaves(as_meant, plain)  # keys too become text: YAML allows {1: 3}, a row in JSON does not
        # As typed: to iterate would put values of the environment in their places.
        typed: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        return cls(settings, choices, nested, tuple(map(str, typed)), masks_of(unresolved, settings))

    def checked(self) -> Point:
        """Return this point; raises `ConfigError` with one line per problem."""
        for group in ("decomposition", "rank", "metric"):
            if self.config.get(group) is not None and group not in self.config["method"]:
                raise ConfigError(f"{group}: method {self.choices['method']} has no use for one; leave it out")
        check(self.config, ROOT_TARGET)
        return self

    @functools.cached_property
    def id(self) -> str:
        """Twelve hex digits of the identity: equal points are one point."""
        return digest_json(self.identity)

    @property
    def variant(self) -> str:
        """The identity without the seed: points of one variant are repetitions of one experiment."""
        return digest_json({key: value for key, value in self.identity.items() if key != "seed"})

    @property
    def identity(self) -> dict[str, Any]:
        """The part of the configuration that says what is computed; a row keeps it, the same on every machine."""
        return self._identified.content

    @functools.cached_property
    def _identified(self) -> Identity:
        named = {group: (group, self.choices[group]) for group in NAMED if group in self.choices}
        return identify(self.written, ROOT_TARGET, named | self.nested_choices)

    @property
    def written(self) -> dict[str, Any]:
        """The configuration as it may be written: what came from the environment is masked."""
        return masked(self.config, self.masks) if self.masks else self.config

    @property
    def computation(self) -> str:
        """A digest of the identity without names: other names may stand for the same configuration."""
        return digest_json(identify(self.written, ROOT_TARGET, {}).content)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The dotted keys that are no part of the identity, and the group `launcher`."""
        return (*self._identified.left_out, "launcher")  # a launcher leaves no key in a configuration

    def is_identity(self, key: str) -> bool:
        """Return True if the dotted `key`, or group, is part of the identity."""
        return not any(key == known or key.startswith(f"{known}.") for known in self.left_out)

    @property
    def identifying_overrides(self) -> list[str]:
        """The overrides that a row keeps: they compose the same point on any machine."""
        return [override for override in self.overrides if self.is_identity(_key_of(override))]

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


def without(config: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return a copy of `config` without the dotted `keys`; absent keys are ignored.

    >>> without({"a": {"b": 1, "c": 2}}, ("a.b", "d"))
    {'a': {'c': 2}}
    """
    copy = json.loads(json.dumps(config))
    for key in keys:
        *parents, last = key.split(".")
        node = copy
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    return copy


def _key_of(override: str) -> str:
    """Return the dotted key, or group, that an override is of."""
    return override.lstrip("+~").partition("=")[0]
