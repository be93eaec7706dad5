"""The rows of published tables as points: every file of conf/experiment, and how the rows of its runs are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hydra import compose, initialize_config_dir

from evaluation.reported import Reported
from orchestration.point import Point, digest, without
from orchestration.schema import CONF

SCHEDULES = ("published", "short")


@dataclass(frozen=True)
class Experiment:
    """One published row: `name` is `<paper>/<row>`; `keys` maps each schedule to the `key` of its runs."""

    name: str
    reported: Reported
    choices: dict[str, str]
    keys: dict[str, str]


def key(config: dict[str, Any], choices: dict[str, str]) -> str:
    """What the runs of one experiment share, on whatever device and with whatever seed."""
    return digest([without(config, ("seed", "trainer", "latency_batch_size")), choices])


def names() -> list[str]:
    """All rows, as they are typed: `experiment=<name>`."""
    folder = CONF / "experiment"
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def experiments() -> list[Experiment]:
    """Compose and check every row under each schedule; some tenth of a second each, without torch."""
    found = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for name in names():
            points = {schedule: _point(name, schedule) for schedule in SCHEDULES}
            published = points["published"]
            reported = {k: v for k, v in published.config["reported"].items() if k != "_target_"}
            keys = {schedule: key(point.identity, point.choices) for schedule, point in points.items()}
            found.append(Experiment(name, Reported(**reported), published.choices, keys))
    return found


def _point(name: str, schedule: str) -> Point:
    config = compose("config", [f"experiment={name}", f"schedule={schedule}"], return_hydra_config=True)
    return Point.from_hydra(config, config.hydra)
