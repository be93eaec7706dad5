"""Tabulate methods against the values of one setting: a line a method, for each value one column or several."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from evaluation.result import Result
from reporting.columns import COLUMNS
from reporting.table import ONE_SEED, Cell, Table, cell, measured, with_best
from reporting.tasks import only_task
from reporting.variants import Options, shown, variants

# Methods that do not have the setting stand under this value, at the end.
NONE = "none"
Lines = dict[str, dict[str, list[Result]]]


def pivot(results: Iterable[Result], across: str, columns: str | Sequence[str], reconstructions: Options = ()) -> Table:
    """Return a table with a line for each method and, for each value of the setting `across`, its `columns`.

    Several columns stand in a group for each value. Methods without that setting are in the last one. Raises
    `ValueError` for an unknown column or setting, and where two variants would share a cell.
    """
    columns = [columns] if isinstance(columns, str) else list(columns)
    for column in columns:
        if column not in COLUMNS:
            raise ValueError(f"column: expected one of {', '.join(COLUMNS)}, got {column}")
    results = list(results)
    lines = by_value(results, across, reconstructions)
    values = values_of(lines)
    empty = [Cell("")] * len(columns)
    rows = []
    for name, of_line in lines.items():
        groups_of_cells = [[_cell(c, of_line[at]) for c in columns] if at in of_line else empty for at in values]
        rows.append([Cell(name), *itertools.chain(*groups_of_cells)])
    if only_task(results):  # of different networks none is the best
        rows = with_best(rows, ["", *columns * len(values)])
    if len(columns) == 1:
        return Table(f"{columns[0]} across {across}", [f"{columns[0]}, {across} =", *values], rows)
    groups = tuple((value if value == NONE else f"{across} = {value}", len(columns)) for value in values)
    return Table(f"{', '.join(columns)} across {across}", ["method", *columns * len(values)], rows, groups)


def by_value(results: Iterable[Result], across: str, reconstructions: Options = ()) -> Lines:
    """Return the seeds of each line at each value of the setting `across`; raises what `pivot` does."""
    results = list(results)
    lines: Lines = {}
    task = only_task(results)
    for variant in variants(results, across, reconstructions):
        at = NONE if variant.at is None else shown(variant.at)
        name = variant.name.removeprefix(f"{task}/")
        of_line = lines.setdefault(name, {})
        if at in of_line:
            raise ValueError(f"{across}: two experiments are both {name} at {at}; omit --across to tell them apart")
        of_line[at] = variant.results
    if all(set(of_line) == {NONE} for of_line in lines.values()):
        raise ValueError(f"no run has a setting '{across}'; omit --across to list them")
    return lines


def values_of(lines: Lines) -> list[str]:
    """Return the values of all lines: numbers by size, then words, then `NONE`."""
    return sorted({at for of_line in lines.values() for at in of_line}, key=lambda at: (at == NONE, _as_number(at)))


def _cell(column: str, results: Sequence[Result]) -> Cell:
    pairs = measured(results)
    made = cell(column, pairs)
    if made.mean is not None and made.mean.num == 1:
        made = replace(made, text=made.text + ONE_SEED)
    failed = len(results) - len(pairs)
    return replace(made, text=f"{made.text} ({failed} failed)") if failed else made


def _as_number(text: str) -> tuple[float, str]:
    """Return a key that sorts numbers by size, then words."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text
