"""In what does a run depart from the published row that it asked for? Only its own settings decide that row's verdict.

A run may have other settings (`experiment=ic20/lenet300_lc_svd rank.weight=2`) or only a shorter schedule
(`schedule=short`, `schedule.reference.epochs=30`): the first is no run of the row, the second one that decides nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from evaluation.name import experiment_in
from orchestration.config.point import Point, without
from orchestration.paths import CONF
from runtime.json_trees import leaves

# What of a configuration may differ between runs of one published row: on whatever device, with whatever seed.
ANYWHERE = (
    "seed", "latency_batch_size", "trainer.accelerator", "trainer.num_processes", "trainer.precision",
    "trainer.tf32", "trainer.deterministic", "trainer.channels_last", "trainer.compile",
)  # fmt: skip
SCHEDULES = ("published", "short")
# The settings that say how long a run trains.
LENGTH = re.compile(r"schedule\.(scale|penalty\.num_steps|\w+\.epochs)")
NUM_NAMED = 2

Settings = Mapping[str, Any]  # one identity a schedule, of `SCHEDULES`
Departures = dict[str, tuple[Any, Any]]  # ours and the published value, None where there is none


@functools.cache  # of the points of a sweep, each variant is looked at
def settings_of(name: str) -> dict[str, dict[str, Any]]:
    """Return the identity of a published row under each of `SCHEDULES`, as `Point.identity` has it."""
    found = {}
    # Inside run.py Hydra is there already, with the user's own folders of configurations.
    is_there = GlobalHydra.instance().is_initialized()
    with nullcontext() if is_there else initialize_config_dir(str(CONF), version_base="1.3"):
        for schedule in SCHEDULES:
            config = compose("config", [f"experiment={name}", f"schedule={schedule}"], return_hydra_config=True)
            found[schedule] = Point.from_hydra(config, config.hydra).identity
    return found


def departures(config: Mapping[str, Any], published: Mapping[str, Any]) -> Departures:
    """Return the dotted keys in which a row's `config` differs from the `published` one, with both values."""
    ours, theirs = (_flat(without(one, ANYWHERE)) for one in (config, published))
    return {key: (ours.get(key), theirs.get(key)) for key in {**theirs, **ours} if ours.get(key) != theirs.get(key)}


def is_shortened(found: Departures, settings: Settings) -> bool:
    """Return True if a run departs only by training for a shorter time, however it was shortened."""
    short = _flat(settings["short"])

    def is_shorter(key: str, ours: Any, theirs: Any) -> bool:
        if not LENGTH.fullmatch(key) or not all(isinstance(value, int | float) for value in (ours, theirs)):
            return False
        return bool(ours <= max(theirs, short.get(key, theirs)))  # the short schedule has an L step more

    return all(is_shorter(key, *values) for key, values in found.items())


def note_of(point: Point) -> str | None:
    """Return what to say of a point that asks for a published row and departs from it; None if it does not."""
    if (name := experiment_in(point.overrides)) is None:
        return None
    settings = settings_of(name)
    if not (found := departures(point.identity, settings["published"])):
        return None
    values = [f"{key}={ours} (published: {theirs})" for key, (ours, theirs) in found.items()]
    more = f" and {len(values) - NUM_NAMED} more" if len(values) > NUM_NAMED else ""
    is_short = is_shortened(found, settings)
    what = "a shortened schedule, which decides nothing" if is_short else "other settings, which are no run of this row"
    return f"note: experiment={name}: {what}: {', '.join(values[:NUM_NAMED])}{more}"


def _flat(config: Any) -> dict[str, Any]:
    return {".".join(map(str, place)): value for place, value in leaves(config, whole_lists=True)}
