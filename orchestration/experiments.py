"""The rows of published tables as points: every file of conf/experiment, with the variants that its runs would have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir

from evaluation.reported import Reported
from orchestration.point import Point

CONF = Path(__file__).parent.parent / "conf"
SCHEDULES = ("published", "short")


@dataclass(frozen=True)
class Experiment:
    """One published row: `name` is `<paper>/<row>`; `variants` maps each schedule to the variant of its runs."""

    name: str
    reported: Reported
    choices: dict[str, str]
    variants: dict[str, str]


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
            variants = {schedule: point.variant for schedule, point in points.items()}
            found.append(Experiment(name, Reported(**reported), published.choices, variants))
    return found


def _point(name: str, schedule: str) -> Point:
    config = compose("config", [f"experiment={name}", f"schedule={schedule}"], return_hydra_config=True)
    return Point.from_hydra(config, config.hydra)
