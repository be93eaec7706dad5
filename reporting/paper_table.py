"""A table for a paper: methods under the names that readers know, and a caption that says what the numbers are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from evaluation.name import experiment_name
from evaluation.result import Result
from reporting.columns import COLUMNS, WORDS
from reporting.pivot import NONE
from reporting.table import Cell, Table, measured
from reporting.tasks import only_task
from reporting.variants import MARKS, unmarked


def columns_of(words: str) -> list[str]:
    """Return the columns that comma-separated `words` name; raises `ValueError` for one that none has, or two alike."""
    asked = [word.strip() for word in words.split(",")]
    if unknown := [word for word in asked if word not in WORDS]:
        raise ValueError(f"--columns: expected some of {', '.join(WORDS)}, got {unknown[0] or 'an empty word'}")
    if len(set(asked)) < len(asked):
        raise ValueError(f"--columns: expected each word once, got {words}")
    return [WORDS[word] for word in asked]


def read_names(path: Path) -> dict[str, str]:
    """Read display names, `lc_svd: LC-SVD (ours)`; raises `ValueError` for a file that does not hold names."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: expected YAML, lines of `lc_svd: LC-SVD`, got {type(error).__name__}") from None
    if not isinstance(content, dict) or not all(_is_name(word) for pair in content.items() for word in pair):
        raise ValueError(f"{path}: expected a name for each method, lines of `lc_svd: LC-SVD`")
    return content


def _is_name(word: Any) -> bool:
    return isinstance(word, str) and bool(word.strip())


def renamed(table: Table, names: Mapping[str, str], results: Iterable[Result]) -> tuple[Table, list[str]]:
    """Return the table with display names, and the names that no line has; marks of a line stay.

    A name stands for a whole line (`svd schedule.distillation.weight=0`), or for the method at its beginning
    (`svd`, `direct+tucker`), whose settings stay. Raises `ValueError` where two lines would have one name.
    """
    methods = {experiment_name(result.choices).split("/")[-1] for result in results}
    used: set[str] = set()

    def shown(line: str) -> str:
        marks = "".join(mark for mark in reversed(MARKS) if mark in line)
        line = unmarked(line)
        method, space, settings = line.partition(" ")
        for known, rest in ((line, ""), (method, space + settings)):
            if known in names and (known == line or known in methods):
                used.add(known)
                return names[known] + rest + marks
        return line + marks

    lines = [shown(row[0].text) for row in table.rows]
    if twice := [line for line in lines if lines.count(line) > 1]:
        raise ValueError(f"--names: two lines are both called {twice[0]}; give a name to each whole line")
    rows = [[Cell(line), *row[1:]] for line, row in zip(lines, table.rows, strict=True)]
    return replace(table, rows=rows), sorted(set(names) - used)


def caption(results: Sequence[Result], across: str, columns: Sequence[str], table: Table) -> str:
    """Return what the numbers of a table across a setting are: of what, over how many seeds, at what cost and where."""
    task = only_task(results)
    values = [group.removeprefix(f"{across} = ") for group, _ in table.groups] or table.header[1:]
    counts = {cell.mean.num for row in table.rows for cell in row[1:] if cell.mean is not None}
    of = f"{', '.join(columns)}{f' on {task}' if task else ''}"
    return " ".join(
        [
            f"{of[:1].upper()}{of[1:]}, {across} = {', '.join(value for value in values if value != NONE)}.",
            f"Means over n = {_range(counts)} {'seed' if counts == {1} else 'seeds'}; {_interval(columns)}.",
            _schedule(results),
            *([_clock(results)] if any("latency" in c or "speed-up" in c for c in columns) else []),
            "Bold: the best, where its interval excludes the next mean.",
        ]
    )


def _interval(columns: Sequence[str]) -> str:
    """Say how the columns show their 95 % intervals."""
    ratios = [COLUMNS[name].is_measured_ratio for name in columns]
    halves = [] if all(ratios) else ["± half of the 95 % interval"]
    ends = ["of speed-ups the mean of logarithms (95 % interval)"] if any(ratios) else []
    return "; ".join([*halves, *ends])


def _schedule(results: Sequence[Result]) -> str:
    """Say how long was trained, as the rows counted it."""
    pairs = measured(results)
    of_methods = measured([result for result in results if result.choices["method"] != "reference"])
    schedules = sorted({result.choices["schedule"] for result in results if "schedule" in result.choices})
    named = f" ({', '.join(schedules)})" if schedules else ""
    reference, compressed = {r.epochs for r, _ in pairs}, {c.epochs for _, c in of_methods}
    after = f", then {_range(compressed)} epochs of each method" if compressed else ""
    return f"Schedule{named}: {_range(reference)} epochs of the reference{after}."


def _clock(results: Sequence[Result]) -> str:
    places = sorted(
        {f"{r.environment.get('device')}, {_threads(r.environment.get('num_threads'))}" for r in results if r.is_ok}
    )
    return f"Times on {'; '.join(places)}."


def _threads(number: Any) -> str:
    return f"{number} thread{'' if number == 1 else 's'}"


def _range(numbers: set[int]) -> str:
    low, high = min(numbers, default=0), max(numbers, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
