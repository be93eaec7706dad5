"""The rows of published tables: every file of conf/experiment, and the key that the rows of its runs share."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir

from evaluation.reported import Reported
from evaluation.result import Result
from orchestration.config.conf_files import read_conf_file
from orchestration.config.departures import ANYWHERE, departures, is_shortened, settings_of
from orchestration.config.point import without
from orchestration.paths import CONF
from runtime.digest import digest_json

FOLDER = CONF / "experiment"


@dataclass(frozen=True)
class Experiment:
    """One published row: `name` is `<paper>/<row>`, `choices` what its file and those it inherits from override.

    `settings` maps each schedule to the identity of its runs; it is empty where nobody asked for them.
    """

    name: str
    reported: Reported
    choices: dict[str, str]
    settings: dict[str, dict[str, Any]]

    @property
    def keys(self) -> dict[str, str]:
        """The `key` of the runs under each schedule."""
        return {schedule: key(config) for schedule, config in self.settings.items()}


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
    """Return all published rows; only those of `kinds` (None: all) get settings, because composing takes a while."""
    found = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for name in names():
            choices, reported = described(FOLDER / f"{name}.yaml")
            settings = settings_of(name) if kinds is None or kind(choices) in kinds else {}
            found.append(Experiment(name, Reported(**reported), choices, settings))
    return found


def runs_of_all(results: Sequence[Result]) -> list[tuple[Experiment, dict[str, list[Result]]]]:
    """Return every published row with our runs of it: "published", "short", and "other", which left its settings.

    A run is known by its settings, whatever command began it, and one that departs from them by the row it asked for.
    """
    by_key: dict[str, list[Result]] = {}
    asked: dict[str, list[Result]] = {}
    for result in results:
        by_key.setdefault(key(result.config), []).append(result)
        if result.experiment is not None:
            asked.setdefault(result.experiment, []).append(result)
    kinds = {kind(result.choices) for result in results}
    named = {kind(described(FOLDER / f"{name}.yaml")[0]) for name in names() if name in asked}
    found = []
    for experiment in experiments(kinds | named):
        runs = {schedule: list(by_key.get(its_key, ())) for schedule, its_key in experiment.keys.items()}
        known = {result.id for of in runs.values() for result in of}
        runs |= {"short": runs.get("short", []), "other": []}
        for result in asked.get(experiment.name, ()) if experiment.settings else ():
            if result.id not in known:
                departed = departures(result.config, experiment.settings["published"])
                runs["short" if is_shortened(departed, experiment.settings) else "other"].append(result)
        found.append((experiment, runs))
    return found


def reconstructions() -> frozenset[tuple[str, str]]:
    """Return the options whose first comment calls them reconstructions: `{("method", "ntt"), …}`."""
    return frozenset((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if _says_so(path))


def _says_so(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines()
    return any("reconstruction" in line for line in takewhile(lambda line: line.startswith("#"), lines))
