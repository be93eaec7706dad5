"""The check before a sweep or a plan: try every kind of point without training, and refuse what makes no sense."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from orchestration.config.cluster import this_node
from orchestration.config.point import Point
from orchestration.errors import ConfigError, NotHere
from orchestration.store.point_files import require_writable
from runtime.forked import Tell, run_forked

CHECKING = "checking"
# The status of a point whose network is too large to be built.
KILLED_IN_CHECK = "failed: its check was killed"


def preflight(points: Sequence[Point], tell: Tell, *, is_here: bool = True, writes: bool = True) -> None:
    """Build one point of each variant; exits with 1, and one line per problem, if one makes no sense.

    `tell` is told each variant before it is built, for a network may be so large that the kernel kills this process.

    Where points run on other machines (`is_here` false), missing data and devices are only noted: each machine looks
    again. `writes` also checks that the folder of results can be written.
    """
    from orchestration.run.build import build_components

    problems: dict[str, str] = {}
    notes: dict[str, None] = {}
    for folder in {point.results_dir for point in points if writes}:
        try:
            require_writable(folder)
        except ConfigError as error:
            problems[str(error)] = "sweep"
    for point in _kinds(points):
        tell([CHECKING, point.variant])
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


def preflight_in_subprocess(points: Sequence[Point], *, is_here: bool, writes: bool = False) -> dict[str, str]:
    """Do the same in a child, so that this process does not load torch and outlives what is too large.

    Return why points have failed in whose check the process was killed, by id; they are printed. Where points run on
    other machines, which may have more memory, that is a note.
    """
    failed: dict[str, str] = {}
    rest = _kinds(points)
    while rest:
        check = partial(preflight, list(rest), is_here=is_here, writes=writes)
        told, code = run_forked(lambda tell, check=check: check(tell))  # type: ignore[misc]
        if code > 0:
            sys.exit(code)
        if code == 0:
            break
        variant = killed_check(told, code)
        if is_here:
            failed |= report_killed(points, {variant: in_check(code)})
        else:
            label = next(point.label for point in rest if point.variant == variant)
            print(f"note: not on this machine: {label}: the check was {killed_by(code)}")
        rest = [point for point in rest if point.variant != variant]
    return failed


def require_checked(points: Sequence[Point], *, is_here: bool) -> None:
    """Check the points of a plan; exits with 1 if one makes no sense, or is too large to be built."""
    if preflight_in_subprocess(points, is_here=is_here):
        sys.exit("error: refused before anything ran")


def killed_check(told: Sequence[Sequence[Any]], code: int) -> str:
    """Return the variant in whose check a process was killed; exits with 1 if it was killed before the first."""
    if not told:
        sys.exit(f"error: the process that loads torch was {killed_by(code)}")
    return str(told[-1][1])


def killed_by(code: int) -> str:
    """Return how a process ended whose exit code is minus the number of a signal."""
    return f"killed by signal {-code}{' (short of memory?)' if code == -signal.SIGKILL else ''}"


def in_check(code: int) -> str:
    """Return the status of a point whose check was killed by the signal `-code`."""
    return (
        f"{KILLED_IN_CHECK}: it was {killed_by(code)}; its network, or a batch of it, may be too large for this machine"
    )


def report_killed(points: Sequence[Point], failed: Mapping[str, str]) -> dict[str, str]:
    """Print the points whose check was killed; return why, by id."""
    reasons = {point.id: failed[point.variant] for point in points if point.variant in failed}
    for point in points:
        if point.id in reasons:
            print(f"{point.label} ({point.id}): {reasons[point.id]}", flush=True)
    return reasons


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
