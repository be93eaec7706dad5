"""The folder that a report is: the page, tables, figures, and the runs as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.result import Result
from reporting.figures import draw, save
from reporting.markup import comma_separated, latex, markdown
from reporting.page import write_page
from reporting.papers import Published, papers
from reporting.pareto import GAINS, fronts, placed
from reporting.runs import write_runs
from reporting.table import Table, by_task, comparison, measured
from reporting.variants import Options

Runs = Mapping[str, Sequence[Result]]


def write_folder(
    folder: Path,
    results: Sequence[Result],
    experiments: Sequence[tuple[Published, Runs]],
    reconstructions: Options,
    places: Mapping[str, Path],
) -> list[Path]:
    """Write everything that `results` say; `places` maps the id of a result to the folder of its files.

    `experiments` are the published rows, each with our runs of it by schedule. Returns the files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    published = [experiment for experiment, _ in experiments]
    page = folder / "index.html"
    write_page(page, results, published, reconstructions, places)
    written = [page, *write_runs(folder, results)]
    for task, of in by_task(results).items():
        name = task.replace("/", "-")
        written += _write_table(folder / "tables" / name, comparison(of, reconstructions=reconstructions))
        if not any(result.choices["method"] != "reference" and measured([result]) for result in of):
            continue
        written += _write_table(folder / "tables" / f"{name}-fronts", fronts(of, reconstructions, task))
        rows = [e for e in published if f"{e.choices['dataset']}/{e.choices['network']}" == task]
        for gain, word in GAINS.items():
            if not placed(of, gain):
                continue
            figure = draw(of, gain, task, rows, reconstructions)
            for ending in (".svg", ".pdf"):
                save(figure, path := folder / "figures" / f"{name}-{word}{ending}")
                written.append(path)
    for paper, table in papers(experiments).items():
        written += _write_table(folder / "tables" / f"paper-{paper}", table)
    return written


def _write_table(path: Path, table: Table) -> list[Path]:
    """The table in three forms, under one name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    forms = {".md": f"# {table.title}\n\n{markdown(table)}", ".tex": latex(table), ".csv": comma_separated(table)}
    for ending, text in forms.items():
        path.with_name(path.name + ending).write_text(text, encoding="utf-8")
    return [path.with_name(path.name + ending) for ending in forms]
