"""Draw test error against a gain in size, work or time, for all methods on one dataset and network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.result import Measure, Result
from evaluation.statistics import mean
from reporting.colours import SHAPES, colour, shape
from reporting.papers import Published
from reporting.pareto import Spot, front, placed
from reporting.table import ONE_SEED, measured
from reporting.variants import MARK, Options
from runtime.atomic import atomic_write
from runtime.messages import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# The field of a published row that holds the gain, and the size to compute it from where no ratio is reported.
REPORTED = {"params ratio": ("params_ratio", "num_params"), "MACs ratio": ("macs_ratio", "macs")}
# With a fixed salt the same rows make the same bytes.
STYLE: Any = {"svg.hashsalt": "compression-bench", "svg.fonttype": "none", "font.size": 9}


def draw(
    results: Sequence[Result],
    gain: str,
    title: str,
    experiments: Sequence[Published] = (),
    reconstructions: Options = (),
) -> Figure:
    """Draw one dataset and network: means with 95 % intervals, their front, published rows as hollow marks.

    `gain` is a column of `reporting.pareto.GAINS`; `experiments` are the published rows; methods among the
    `reconstructions` are marked. Both axes are logarithmic; that of the error is linear if some network makes none.
    Raises `ValueError` if no compressed network is ok.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    found = placed(results, gain, reconstructions)
    if not found:
        raise ValueError(f"{title}: expected a compressed network that is ok, got none")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.add_subplot()
        references = [r for r, _ in measured(results)]
        _draw_references(axes, results)
        steps = front(found)  # from the largest gain on; each error holds until the next step
        axes.step(
            [s.gain for s in steps], [_error(s.top1_percent) for s in steps], where="post", color="0.6", zorder=1,
            label="front",
        )  # fmt: skip
        of_one = False
        marked = {choice for group, choice in reconstructions if group == "method"}
        for method in sorted({spot.method for spot in found}):
            of = [spot for spot in found if spot.method == method]
            errors = [_error(spot.top1_percent) for spot in of]
            label = _literal(method) + (MARK if method in marked else "")
            of_one = of_one or any(spot.num == 1 for spot in of)
            for spot in of:
                if spot.num == 1:
                    where = (spot.gain, _error(spot.top1_percent))
                    axes.annotate(ONE_SEED, where, xytext=(3, 1), textcoords="offset points")
            arms = list(zip(*map(_arms, of), strict=True))  # all lower ones, all upper ones
            axes.errorbar(
                [spot.gain for spot in of], errors, yerr=arms, fmt=SHAPES[shape(method)],
                color=colour(method), markersize=5, linewidth=0.8, label=label,
                zorder=2,
            )  # fmt: skip
        _draw_reported(axes, gain, experiments, references)
        axes.set(xscale="log", xlabel=f"{gain} (log)", ylabel="test error [%]", title=_literal(title))
        if all(np.min(np.asarray(line.get_ydata(), float)) > 0 for line in axes.get_lines()):
            axes.set(yscale="log", ylabel="test error [%] (log)")
        axes.set_ylim(top=min(axes.get_ylim()[1], 100))  # an interval may reach beyond 100 %, an error cannot
        for axis in (axes.xaxis, axes.yaxis):
            _label(axis)
        axes.tick_params(which="minor", labelsize=7)
        axes.grid(which="both", color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        if of_one:
            axes.plot([], [], " ", label=f"{ONE_SEED} one seed")
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def save(figure: Figure, path: Path, about: str = "") -> None:
    """Write the figure in the format of the path's ending; the file holds the text `about` and no date."""
    import matplotlib as mpl

    known = {".svg": {"Date": None, "Description": about}, ".pdf": {"CreationDate": None, "Subject": about}}
    with mpl.rc_context(STYLE), atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."), metadata=known.get(path.suffix))


def _draw_references(axes: Axes, results: Sequence[Result]) -> None:
    """Draw one line for each training of a reference: references differ in data or schedule."""
    errors: dict[str, list[float]] = {}
    for result in results:
        trained = (result.config.get("dataset"), result.config.get("schedule", {}).get("reference"))
        for reference, _ in measured([result]):
            errors.setdefault(repr(trained), []).append(_error(reference.test_top1_percent))
    for number, values in enumerate(errors.values()):
        label = "_" if number else "reference"  # once in the legend
        axes.axhline(mean(values).value, color="0.4", linewidth=0.9, linestyle="--", label=label, zorder=0)


def _draw_reported(axes: Axes, gain: str, experiments: Sequence[Published], references: Sequence[Measure]) -> None:
    label = "reported"
    for experiment in experiments:
        reported = experiment.reported
        x = _reported_gain(reported, gain, references)
        if x is None or reported.top1_percent is None or experiment.choices["method"] == "reference":
            continue
        method = experiment.choices["method"]
        axes.plot(
            x, _error(reported.top1_percent), SHAPES[shape(method)], markerfacecolor="none", markersize=7,
            color=colour(method), label=label,
        )  # fmt: skip
        label = "_"  # once in the legend


def _reported_gain(reported: Any, gain: str, references: Sequence[Measure]) -> float | None:
    if gain not in REPORTED:
        return None
    ratio, size = REPORTED[gain]
    if (given := getattr(reported, ratio)) is not None:
        return float(given)
    if (small := getattr(reported, size)) is None or not references:
        return None
    return float(getattr(references[0], size) / small)


def _literal(text: str) -> str:
    """Return text of a row as it is drawn letter by letter: between dollars would be mathematics."""
    return printable(text).replace("$", r"\$")


def _label(axis: Axis) -> None:
    """Label the axis with plain numbers that do not overlap."""
    from matplotlib.ticker import LogLocator

    axis.set_major_formatter("{x:g}")
    low, high = axis.get_view_interval()
    if axis.get_scale() == "log":
        axis.set_minor_formatter("{x:g}")
        if high > 5 * low:  # Matplotlib's own choice is every number from 2 to 9
            axis.set_minor_locator(LogLocator(subs=(2, 3, 5)))


def _error(top1_percent: float) -> float:
    return 100 - top1_percent


def _arms(spot: Spot) -> tuple[float, float]:
    """Return the arms of an interval: the lower one ends above zero, for the logarithm; a single seed has none."""
    if math.isnan(spot.low):
        return 0.0, 0.0
    return min(spot.high - spot.top1_percent, 0.9 * _error(spot.top1_percent)), spot.top1_percent - spot.low
