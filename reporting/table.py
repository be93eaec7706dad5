"""Tabulate many results: one line a variant, mean and 95 % interval over its seeds, failures counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from evaluation.result import Measure, Result
from evaluation.statistics import Mean, mean
from reporting.columns import COLUMNS
from reporting.variants import FOOTNOTE, MARK, Options, shown, variants

# The columns of a comparison; memory and the second speed-up are of the large batch, seconds are those of compressing.
COMPARED = (
    "top-1 [%]", "Δ reference", "parameters", "params ratio", "nonzero ratio", "bytes ratio", "MACs", "MACs ratio",
    "speed-up, batch 1", "speed-up, large batch", "memory ratio", "seconds", "epochs",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """The text of a cell, the mean behind it if it is a number, and whether no other in its column is better."""

    text: str
    mean: Mean | None = None
    is_best: bool = False


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, and the lines; the first cell of a line is its name."""

    title: str
    header: list[str]
    rows: list[list[Cell]]

    @property
    def footnotes(self) -> list[str]:
        """The meaning of the marks in this table."""
        return [FOOTNOTE] if any(MARK in row[0].text for row in self.rows) else []


def comparison(results: Iterable[Result], columns: Sequence[str] = COMPARED, reconstructions: Options = ()) -> Table:
    """Return a table of one line a variant: mean ± half the 95 % interval over its seeds.

    `columns` are names of `reporting.columns.COLUMNS`. Failed runs are counted, not averaged.
    """
    results = list(results)
    rows, task = [], only_task(results)
    for variant in variants(results, reconstructions=reconstructions):
        pairs = measured(variant.results)
        statuses = Counter(result.status.split(":")[0] for result in variant.results)
        runs = ", ".join(f"{count} {status}" for status, count in statuses.items())
        cells = [
            _cell([COLUMNS[name](r, c) for r, c in pairs], sign="+" if name.startswith("Δ") else "") for name in columns
        ]
        rows.append([Cell(variant.name.removeprefix(f"{task}/")), Cell(runs), *cells])
    header = ["method" if task else "experiment", "runs", *columns]
    if task:  # of different networks none is the best
        rows = _with_best(rows, ["", "", *columns])
    return Table(task or "comparison", header, rows)


def pivot(results: Iterable[Result], across: str, column: str, reconstructions: Options = ()) -> Table:
    """Return the table of one measure, `column`, with a line for each method and a column for each value of `across`.

    Methods without that setting are in the last column. Raises `ValueError` for an unknown column or setting, and where
    two variants would share a cell.
    """
    if column not in COLUMNS:
        raise ValueError(f"column: expected one of {', '.join(COLUMNS)}, got {column}")
    results = list(results)
    lines: dict[str, dict[str, Cell]] = {}
    task = only_task(results)
    for variant in variants(results, across, reconstructions):
        pairs = measured(variant.results)
        cell = _cell([COLUMNS[column](r, c) for r, c in pairs])
        failed = len(variant.results) - len(pairs)
        at = "none" if variant.at is None else shown(variant.at)
        name = variant.name.removeprefix(f"{task}/")
        cells = lines.setdefault(name, {})
        if at in cells:
            raise ValueError(f"{across}: two experiments are both {name} at {at}; omit --across to tell them apart")
        cells[at] = replace(cell, text=f"{cell.text} ({failed} failed)") if failed else cell
    if all(set(cells) == {"none"} for cells in lines.values()):
        raise ValueError(f"no run has a setting '{across}'; omit --across to list them")
    values = sorted({at for cells in lines.values() for at in cells}, key=_as_number)
    rows = [[Cell(name), *(cells.get(at, Cell("")) for at in values)] for name, cells in lines.items()]
    return Table(
        f"{column} across {across}", [f"{column}, {across} =", *values], _with_best(rows, ["", *[column] * len(values)])
    )


def by_task(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Group results by `dataset/network`, in alphabetical order."""
    tasks: dict[str, list[Result]] = {}
    for result in results:
        tasks.setdefault(f"{result.choices['dataset']}/{result.choices['network']}", []).append(result)
    return dict(sorted(tasks.items()))


def only_task(results: Iterable[Result]) -> str | None:
    """Return the dataset and network of the results if they share it, so that names can omit it; else None."""
    tasks = by_task(results)
    return next(iter(tasks)) if len(tasks) == 1 else None


def measured(results: Iterable[Result]) -> list[tuple[Measure, Measure]]:
    """Return the reference and the compressed network of every result that is ok."""
    return [(r.reference, r.compressed) for r in results if r.is_ok and r.reference and r.compressed]


def _with_best(rows: list[list[Cell]], columns: Sequence[str]) -> list[list[Cell]]:
    """Mark the best means of each column; networks that were not compressed do not compete."""
    rows = [list(row) for row in rows]
    for place, name in enumerate(columns):
        better = COLUMNS[name].better if name in COLUMNS else None
        competing = [
            row for row in rows if row[place].mean is not None and row[0].text.split()[0].split("/")[-1] != "reference"
        ]
        values = [row[place].mean.value for row in competing if row[place].mean]  # type: ignore[union-attr]
        values = [value for value in values if not math.isnan(value)]
        if better is None or len(set(values)) < 2:
            continue
        best = (max if better == "more" else min)(values)
        for row in competing:
            if (found := row[place].mean) is not None and found.value == best:
                row[place] = replace(row[place], is_best=True)
    return rows


def _as_number(text: str) -> tuple[float, str]:
    """Return a key that sorts numbers by size, then words."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _cell(values: Sequence[int | float], sign: str = "") -> Cell:
    values = [value for value in values if not math.isnan(value)]  # older rows lack what was not yet measured
    if not values:
        return Cell("–")
    average = mean(values)
    digits = 0 if all(isinstance(v, int) for v in values) else 2  # counts have no decimals
    text = f"{average.value:{sign},.{digits}f}"
    spread = f" ± {average.half_width:,.{digits}f}" if average.half_width > 0 else ""
    return Cell(text + spread, average)
