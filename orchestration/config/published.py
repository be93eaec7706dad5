"""The rows of published tables: every file of conf/experiment, and the key that the rows of its runs share."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from evaluation.reported import Reported
from orchestration.config.conf_files import read_conf_file
from orchestration.config.point import Point, without
from orchestration.paths import CONF
from runtime.digest import digest_json

FOLDER = CONF / "experiment"
SCHEDULES = ("published", "short")


@dataclass(frozen=True)
class Experiment:
    """One published row: `name` is `<paper>/<row>`, `choices` what its file and those it inherits from override.

    `keys` maps each schedule to the `key` of its runs; it is empty where nobody asked for them.
    """

    name: str
    reported: Reported
    choices: dict[str, str]
    keys: dict[str, str]


# What of a configuration may differ between runs of one published row: on whatever device, with whatever seed.
ANYWHERE = (
    "seed", "latency_batch_size", "trainer.accelerator", "trainer.num_processes", "trainer.precision",
    "trainer.deterministic", "trainer.channels_last", "trainer.compile",
)  # fmt: skip


def key(config: dict[str, Any]) -> str:
    """Return a digest that the runs of one experiment share; `config` is that of a row."""
    return digest_json(without(config, ANYWHERE))


def names() -> list[str]:
    """Return the names of all published rows, as they are typed: `experiment=<name>`."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


def kind(choices: dict[str, str]) -> tuple[str, str, str]:
    """Return dataset, network and method."""
    return choices["dataset"], choices["network"], choices["method"]


def described(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the choices and reported values of a file, inherited ones too, without Hydra, which is slow for all."""
    file = read_conf_file(path)
    choices: dict[str, str] = {}
    reported: dict[str, Any] = {}
    for parent in file.parents:
        inherited = described(parent)
        choices |= inherited[0]
        reported |= inherited[1]
    own = file.content.get("reported", {})
    return choices | file.chosen, reported | {name: value for name, value in own.items() if name != "_target_"}


def experiments(kinds: Container[tuple[str, str, str]] | None = None) -> list[Experiment]:
    """Return all published rows; only those of `kinds` (None: all) get keys, because composing them takes a while."""
    found = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for name in names():
            choices, reported = described(FOLDER / f"{name}.yaml")
            points = SCHEDULES if kinds is None or kind(choices) in kinds else ()
            keys = {schedule: _key(name, schedule) for schedule in points}
            found.append(Experiment(name, Reported(**reported), choices, keys))
    return found


def _key(name: str, schedule: str) -> str:
    config = compose("config", [f"experiment={name}", f"schedule={schedule}"], return_hydra_config=True)
    point = Point.from_hydra(config, config.hydra)
    return key(point.identity)


def reconstructions() -> frozenset[tuple[str, str]]:
    """Return the options whose first comment calls them reconstructions: `{("method", "ntt"), …}`."""
    return frozenset((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if _says_so(path))


def _says_so(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines()
    return any("reconstruction" in line for line in takewhile(lambda line: line.startswith("#"), lines))
