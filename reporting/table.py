"""Tabulate many results: one line a variant, mean and 95 % interval over its seeds, failures counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from evaluation.result import Measure, Result
from evaluation.statistics import Mean
from reporting.columns import COLUMNS
from reporting.tasks import only_task
from reporting.variants import FOOTNOTE, MARK, SMOKE, SMOKE_FOOTNOTE, Options, variants

# The columns of a comparison; memory and the second speed-up are of the large batch, seconds are those of compressing.
COMPARED = (
    "top-1 [%]", "Δ reference", "parameters", "params ratio", "nonzero ratio", "bytes ratio", "MACs", "MACs ratio",
    "speed-up, batch 1", "speed-up, large batch", "memory ratio", "seconds", "epochs",
)  # fmt: skip


# The mark of a mean of a single value, and its meaning.
ONE_SEED, ONE_SEED_FOOTNOTE = "¹", "¹ of one seed: without an interval, and so never the best."


@dataclass(frozen=True)
class Cell:
    """The text of a cell, the mean behind it if it is a number, and whether it is surely the best of its column."""

    text: str
    mean: Mean | None = None
    is_best: bool = False


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, and the lines; the first cell of a line is its name.

    `groups` are names over so many columns each, from the second column on.
    """

    title: str
    header: list[str]
    rows: list[list[Cell]]
    groups: tuple[tuple[str, int], ...] = ()

    @property
    def full_header(self) -> list[str]:
        """The names of the columns, that of their group before them."""
        over = [name for name, count in self.groups for _ in range(count)] or [""] * (len(self.header) - 1)
        named = [f"{group}: {name}" if group else name for group, name in zip(over, self.header[1:], strict=True)]
        return [self.header[0], *named]

    @property
    def footnotes(self) -> list[str]:
        """The meaning of the marks in this table."""
        names = [row[0].text for row in self.rows]
        numbers = [cell.text for row in self.rows for cell in row[1:]]
        return [
            *([FOOTNOTE] if any(MARK in name for name in names) else []),
            *([SMOKE_FOOTNOTE] if any(SMOKE in name for name in names) else []),
            *([ONE_SEED_FOOTNOTE] if any(ONE_SEED in text for text in numbers) else []),
        ]


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
        cells = [cell(name, pairs) for name in columns]
        rows.append([Cell(variant.name.removeprefix(f"{task}/")), Cell(runs), *cells])
    header = ["method" if task else "experiment", "runs", *columns]
    if task:  # of different networks none is the best
        rows = with_best(rows, ["", "", *columns])
    return Table(task or "comparison", header, rows)


def measured(results: Iterable[Result]) -> list[tuple[Measure, Measure]]:
    """Return the reference and the compressed network of every result that is ok."""
    return [(r.reference, r.compressed) for r in results if r.is_ok and r.reference and r.compressed]


def with_best(rows: list[list[Cell]], columns: Sequence[str]) -> list[list[Cell]]:
    """Mark the best means of each column whose intervals exclude the next; equal means are best together.

    A mean of one value has no interval. Networks that were not compressed do not compete, nor do smoke rows.
    """
    rows = [list(row) for row in rows]
    for place, name in enumerate(columns):
        better = COLUMNS[name].better if name in COLUMNS else None
        found = {index: row[place].mean for index, row in enumerate(rows) if _competes(row[0].text)}
        known = {index: mean for index, mean in found.items() if mean is not None and not math.isnan(mean.value)}
        values = sorted({mean.value for mean in known.values()}, reverse=better == "more")
        if better is None or len(values) < 2:
            continue
        for index, mean in known.items():
            if mean.value == values[0] and mean.num > 1 and not mean.low <= values[1] <= mean.high:
                rows[index][place] = replace(rows[index][place], is_best=True)
    return rows


def _competes(name: str) -> bool:
    return name.split()[0].split("/")[-1] != "reference" and SMOKE not in name


def cell(column: str, pairs: Sequence[tuple[Measure, Measure]]) -> Cell:
    """Return the mean of a column over the two networks of each row; "–" if there is none."""
    of = COLUMNS[column]
    values = [of(r, c) for r, c in pairs]
    values = [value for value in values if not math.isnan(value)]  # older rows lack what was not yet measured
    if not values:
        return Cell("–")
    average = of.mean(values)
    digits = 0 if all(isinstance(value, int) for value in values) else decimals(column, average.value)
    text = f"{average.value:{'+' if column.startswith('Δ') else ''},.{digits}f}"
    if not average.half_width > 0:
        return Cell(text, average)
    low, high, half = (f"{number:,.{digits}f}" for number in (average.low, average.high, average.half_width))
    return Cell(f"{text} ({low}–{high})" if of.is_measured_ratio else f"{text} ± {half}", average)


def decimals(column: str, size: float) -> int:
    """Return the number of decimals of a number of about this `size`: milliseconds have three significant digits."""
    return max(0, 2 - math.floor(math.log10(size))) if size > 0 and column.endswith("[ms]") else 2
