"""The check before a sweep or a plan: try every kind of point without training, and refuse what makes no sense."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.config.cluster import this_node
from orchestration.config.point import Point
from orchestration.errors import ConfigError
from orchestration.store.point_files import require_writable
from runtime.forked import run_forked


def preflight(points: Sequence[Point], *, is_here: bool = True, writes: bool = True) -> None:
    """Build one point of each variant; exits with 1, and one line per problem, if one makes no sense.

    Where points run on other machines (`is_here` false), missing data and devices are only noted: each machine looks
    again. `writes` also checks that the folder of results can be written.
    """
    from orchestration.run.build import NotHere, build_components

    problems: dict[str, str] = {}
    notes: dict[str, None] = {}
    for folder in {point.results_dir for point in points if writes}:
        try:
            require_writable(folder)
        except ConfigError as error:
            problems[str(error)] = "sweep"
    for point in _kinds(points):
        try:
            build_components(point)
            if is_here:
                this_node(point.config["trainer"].get("num_nodes", 1))
        except NotHere as error:
            if is_here:
                problems[str(error)] = point.label
            else:
                notes[f"note: not on this machine: {error.what}"] = None
        except ConfigError as error:
            problems[str(error)] = point.label
    print(*notes, sep="\n", end="\n" if notes else "")
    if problems:
        for problem, label in problems.items():
            print(f"error: {label}: {problem}", file=sys.stderr)
        sys.exit("error: refused before anything ran")


def preflight_in_subprocess(points: Sequence[Point], *, is_here: bool) -> None:
    """Do the same in a process of its own, so that this one does not load torch for a plan."""
    if points:
        _, code = run_forked(lambda tell: preflight(_kinds(points), is_here=is_here, writes=False))
        if code:
            sys.exit(code)


def _kinds(points: Sequence[Point]) -> list[Point]:
    """Return the first point of each variant: the others differ only in their seed."""
    kinds: dict[str, Point] = {}
    for point in points:
        kinds.setdefault(point.variant, point)
    return list(kinds.values())


def require_equal_devices(points: Sequence[Point], base: Mapping[str, Any]) -> None:
    """Exit with 1 unless all points have the devices of `base`, because a launcher reserves the same for all."""
    names = {"accelerator": "cpu", "devices": 1, "num_nodes": 1}
    of_base, *of_points = (
        tuple(trainer.get(name, usual) for name, usual in names.items())
        for trainer in (base["trainer"], *(point.config["trainer"] for point in points))
    )
    if (asked := set(of_points)) != {of_base}:
        said = ", ".join(" ".join(map(str, each)) for each in sorted(asked, key=str))
        sys.exit(
            "error: a launcher reserves the same devices for all points, those of the one trainer of the command; got "
            f"accelerator, devices and num_nodes {said}: run one command per device setting"
        )
