"""Compute which variants are on the front of accuracy against size, work and time, and each method's hypervolume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evaluation.result import Result
from evaluation.statistics import hypervolume, mean, pareto_front
from reporting.columns import COLUMNS
from reporting.table import ONE_SEED, Cell, Table, measured
from reporting.variants import MARK, Options, variants

# The columns that accuracy is traded for, each with the word in its figure's file name.
GAINS = {"params ratio": "parameters", "MACs ratio": "macs", "speed-up, large batch": "speed"}
# A network that loses more than this against its reference, or is no smaller, is worth nothing.
LOSS_POINTS = 5.0


@dataclass(frozen=True)
class Spot:
    """A variant in a figure: its mean gain, its mean top-1 with a 95 % interval, and its mean loss in points.

    All are means over `num` seeds.
    """

    name: str
    method: str
    gain: float
    top1_percent: float
    low: float
    high: float
    loss: float
    num: int


def spots(results: Iterable[Result], gain: str, reconstructions: Options = ()) -> list[Spot]:
    """Return one spot for each compressed variant with a row that is ok; `gain` is one of `GAINS`."""
    found = []
    for variant in variants(results, reconstructions=reconstructions):
        method = variant.results[0].choices["method"]
        if method == "reference" or not (pairs := measured(variant.results)):
            continue
        top1 = mean([c.test_top1_percent for _, c in pairs])
        loss = mean([r.test_top1_percent - c.test_top1_percent for r, c in pairs]).value
        along = COLUMNS[gain].mean([COLUMNS[gain](r, c) for r, c in pairs]).value
        found.append(Spot(variant.name, method, along, top1.value, top1.low, top1.high, loss, len(pairs)))
    return found


def placed(results: Iterable[Result], gain: str, reconstructions: Options = ()) -> list[Spot]:
    """Return the spots that fit on a logarithmic axis: a network of which nothing is left does not."""
    return [spot for spot in spots(results, gain, reconstructions) if spot.gain > 0 and math.isfinite(spot.gain)]


def front(found: Sequence[Spot]) -> list[Spot]:
    """Return the spots that no other beats in gain and accuracy, from the largest gain on."""
    return [found[i] for i in pareto_front([-spot.gain for spot in found], [spot.top1_percent for spot in found])]


def fronts(results: Sequence[Result], reconstructions: Options = (), title: str = "fronts") -> Table:
    """Count, for each method and gain, the variants on the common front; compute the hypervolume of its own front.

    A hypervolume is in decades of the gain times points of accuracy. Its corner is a network as large as its reference
    and `LOSS_POINTS` worse.
    """
    marked = {choice for group, choice in reconstructions if group == "method"}
    methods = sorted({r.choices["method"] for r in results if r.is_ok} - {"reference"})
    header = ["method"]
    columns: list[list[Cell]] = []
    for gain in GAINS:
        all_of_them = spots(results, gain)
        on_front = front(all_of_them)
        header += [f"on the front: {gain}", f"hypervolume: {gain}"]
        own = {method: [spot for spot in all_of_them if spot.method == method] for method in methods}
        areas = {method: _area(of) for method, of in own.items()}
        best = max(areas.values(), default=math.nan)
        columns.append([_on_front([s for s in on_front if s.method == m], own[m]) for m in methods])
        sure = {method: all(spot.num > 1 for spot in of) for method, of in own.items()}
        columns.append([Cell(f"{areas[m]:.2f}", mean([areas[m]]), areas[m] == best > 0 and sure[m]) for m in methods])
    rows = [
        [Cell(method + (MARK if method in marked else "")), *(column[place] for column in columns)]
        for place, method in enumerate(methods)
    ]
    return Table(title, header, rows)


def _on_front(found: Sequence[Spot], all_of_them: Sequence[Spot]) -> Cell:
    """Count those on the front, with a mark if one of them is of a single seed, which another seed may throw off."""
    return Cell(f"{len(found)}{ONE_SEED if any(s.num == 1 for s in found) else ''} of {len(all_of_them)}")


def _area(found: Sequence[Spot]) -> float:
    positive = [spot for spot in found if spot.gain > 0 and math.isfinite(spot.gain)]
    return hypervolume(
        [-math.log10(spot.gain) for spot in positive], [-spot.loss for spot in positive], corner=(0.0, -LOSS_POINTS)
    )
