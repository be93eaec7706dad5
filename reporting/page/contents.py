"""Compute the data of the page: rows, their variants, published rows and colours, as one JSON value.

All computed numbers come from here, so the page and the tables agree.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evaluation.name import experiment_name
from evaluation.result import Result
from reporting.colours import colour, shape
from reporting.columns import COLUMNS
from reporting.differences import NEAR, differences_near
from reporting.papers import Published
from reporting.print_result import comparison_rows
from reporting.table import COMPARED, measured
from reporting.tasks import Tasks, plain_task
from reporting.variants import FOOTNOTE, MARK, Options, Variant, variants
from runtime.json_trees import map_leaves


def contents(
    results: Sequence[Result],
    experiments: Iterable[Published],
    reconstructions: Options,
    folders: Mapping[str, Path],
    beside: Path,
    steps: int | None = None,
) -> dict[str, Any]:
    """Return everything that the page shows, with at most `steps` entries of each history.

    `experiments` are the published rows. `folders` maps the id of a row to the folder of its files. Links are relative
    to the folder `beside`, where the page will lie.
    """
    found = variants(results, reconstructions=reconstructions)
    named = Tasks(results)
    place = {result.id: i for i, variant in enumerate(found) for result in variant.results}
    published = list(experiments)
    differences = differences_near(found)
    methods = sorted({r.choices["method"] for r in results} | {e.choices["method"] for e in published})
    return map_leaves(
        _compact,
        {
            "columns": COMPARED,
            "footnote": FOOTNOTE,
            "methods": {
                m: {"colour": colour(m), "shape": shape(m), "mark": MARK if ("method", m) in reconstructions else ""}
                for m in methods
            },
            "variants": [_variant(variant) for variant in found],
            "runs": [
                {**_run(r, steps), "task": named(r), "variant": place[r.id], **_files(folders.get(r.id), beside)}
                for r in results
            ],
            "near": NEAR,
            "differences": {str(one): {str(two): text for two, text in of.items()} for one, of in differences.items()},
            "steps": steps,
            "reported": [_reported(e, published, results) for e in published],
        },
    )


def _run(result: Result, steps: int | None) -> dict[str, Any]:
    """Return one row: its raw values, every column, and both networks side by side as in the terminal."""
    row = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    reference, compressed = row.pop("reference"), row.pop("compressed")
    both = reference is not None and compressed is not None
    lines = comparison_rows(reference, compressed) if both else []
    return row | {
        "state": result.status.split(":")[0],
        "command": shlex.join(["python", "run.py", *result.overrides]),
        "values": {n: of(reference, compressed) for n, of in COLUMNS.items()} if both and result.is_ok else {},
        "history": _history(result.history, steps),
        "comparison": [[cell if "nan" not in cell else "–" for cell in line] for line in lines],
    }


def _history(entries: Sequence[dict[str, Any]], steps: int | None) -> dict[str, Any] | None:
    """Return one list for every field and for every layer's ranks: similar values side by side compress well."""
    if steps is not None and len(entries) > steps:
        entries = [
            entries[round(i * (len(entries) - 1) / (steps - 1))] for i in range(steps)
        ]  # the first and the last too
    if not entries:
        return None
    fields = {name: [entry.get(name) for entry in entries] for name in dict.fromkeys(n for e in entries for n in e)}
    fields.setdefault("step", list(range(len(entries))))
    layers = dict.fromkeys(layer for ranks in fields.get("ranks", []) for layer in ranks or {})
    return fields | {"ranks": {layer: [(ranks or {}).get(layer) for ranks in fields["ranks"]] for layer in layers}}


def _variant(variant: Variant) -> dict[str, Any]:
    """Return means and half-widths of their 95 % intervals over the seeds that are ok, and the variant's settings."""
    first = variant.results[0]
    pairs = measured(variant.results)
    means = {n: of.mean([of(r, c) for r, c in pairs]) for n, of in COLUMNS.items() if pairs}
    named = experiment_name(first.choices)
    difference = variant.name.removeprefix(variant.base).removeprefix(MARK)
    # The rank rule and the method say most: they come first.
    settings = sorted(
        re.split(r" (?=[\w.]+=)", difference.strip()), key=lambda word: not word.startswith(("rank", "method"))
    )
    return {
        "id": first.variant,
        "name": variant.name,
        "setting": " ".join([*([f"+{named.split('+')[1]}"] if "+" in named else []), *settings]).strip(),
        "task": variant.task,
        "method": first.choices["method"],
        "values": {n: m.value for n, m in means.items()},
        "half_widths": {n: m.half_width for n, m in means.items() if not COLUMNS[n].is_measured_ratio},
        "ranges": {n: [m.low, m.high] for n, m in means.items() if COLUMNS[n].is_measured_ratio},
    }


def _reported(experiment: Published, all_of_them: Iterable[Published], results: Iterable[Result]) -> dict[str, Any]:
    """Return a published row; its ratios are computed from sizes where a reference of the same network is known."""
    reported, choices = experiment.reported, experiment.choices
    references = [
        e.reported
        for e in all_of_them
        if e.choices["method"] == "reference"
        and e.name.split("/")[0] == experiment.name.split("/")[0]
        and all(e.choices[group] == choices[group] for group in ("dataset", "network"))
    ] + [
        r.reference
        for r in results
        if r.reference and all(r.choices[group] == choices[group] for group in ("dataset", "network"))
    ]

    def ratio(given: float | None, of: str) -> float | None:
        if given is not None or choices["method"] == "reference":
            return given or 1.0
        known = [getattr(r, of) for r in references if getattr(r, of)]
        size = getattr(reported, of)
        return known[0] / size if known and size else None

    return {
        "name": experiment.name,
        "task": plain_task(choices),
        **{group: choices[group] for group in ("dataset", "network", "method")},
        "test error [%]": None if reported.top1_percent is None else 100 - reported.top1_percent,
        "params ratio": ratio(reported.params_ratio, "num_params"),
        "MACs ratio": ratio(reported.macs_ratio, "macs"),
        **{k: getattr(reported, k) for k in ("source", "place", "provenance", "differs", "reconstruction")},
    }


def _files(folder: Path | None, beside: Path) -> dict[str, Any]:
    """Return the folder of a row, as a link for a browser, and the names of its files."""
    if folder is None:
        return {"folder": None, "files": []}
    away = Path(os.path.relpath(folder.resolve(), beside.resolve())).as_posix()
    try:
        names = sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError:  # of somebody else
        names = []
    return {"folder": quote(os.fsencode(away)), "files": names}


def _compact(leaf: Any) -> Any:
    """Round a number to six digits, more than anyone reads; what is not finite becomes null."""
    if isinstance(leaf, float):
        return float(f"{leaf:.6g}") if math.isfinite(leaf) else None
    return leaf
