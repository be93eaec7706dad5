"""Tabulate methods against the values of one setting: a line a method, for each value one column or several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from evaluation.result import Result
from reporting.columns import COLUMNS
from reporting.table import ONE_SEED, Cell, Table, cell, measured, only_task, with_best
from reporting.variants import Options, shown, variants

# Methods that do not have the setting stand under this value, at the end.
NONE = "none"


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
    lines: dict[str, dict[str, list[Cell]]] = {}
    task = only_task(results)
    for variant in variants(results, across, reconstructions):
        at = NONE if variant.at is None else shown(variant.at)
        name = variant.name.removeprefix(f"{task}/")
        cells = lines.setdefault(name, {})
        if at in cells:
            raise ValueError(f"{across}: two experiments are both {name} at {at}; omit --across to tell them apart")
        cells[at] = [_cell(column, variant.results) for column in columns]
    if all(set(cells) == {NONE} for cells in lines.values()):
        raise ValueError(f"no run has a setting '{across}'; omit --across to list them")
    values = sorted({at for cells in lines.values() for at in cells}, key=_as_number)
    empty = [Cell("")] * len(columns)
    rows = [[Cell(name), *(c for at in values for c in cells.get(at, empty))] for name, cells in lines.items()]
    rows = with_best(rows, ["", *columns * len(values)])
    if len(columns) == 1:
        return Table(f"{columns[0]} across {across}", [f"{columns[0]}, {across} =", *values], rows)
    groups = tuple((value if value == NONE else f"{across} = {value}", len(columns)) for value in values)
    return Table(f"{', '.join(columns)} across {across}", ["method", *columns * len(values)], rows, groups)


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
