"""Write a report as a folder: the page, tables, figures, and all rows as one flat table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.result import Result
from reporting.differences import differences_from_best
from reporting.figures import draw, save
from reporting.flat_table import write_flat_table
from reporting.markup import comma_separated, latex, markdown, markdown_escaped
from reporting.page import write_page
from reporting.papers import Published
from reporting.pareto import GAINS, fronts, placed
from reporting.table import Table, comparison, measured
from reporting.tasks import by_task, plain_task
from reporting.variants import Options
from runtime.atomic import atomic_write


def write_folder(
    folder: Path,
    results: Sequence[Result],
    published: Sequence[Published],
    papers: Mapping[str, Table],
    reconstructions: Options,
    places: Mapping[str, Path],
) -> list[Path]:
    """Write the report of `results` into `folder`, made if missing; return the files written.

    `published` are the rows of papers, and `papers` the tables that hold ours against them. `reconstructions` are the
    options whose paper was not at hand. `places` maps the id of a row to the folder of its files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.html"
    write_page(page, results, published, reconstructions, places)
    written = [page, *write_flat_table(folder, results)]
    for task, of in by_task(results).items():
        name = task.replace("/", "-")
        written += _write_table(folder / "tables" / name, comparison(of, reconstructions=reconstructions))
        if (differences := differences_from_best(of, reconstructions)) is not None:
            written += _write_table(folder / "tables" / f"{name}-differences", differences)
        if not any(result.choices["method"] != "reference" and measured([result]) for result in of):
            continue
        written += _write_table(folder / "tables" / f"{name}-fronts", fronts(of, reconstructions, task))
        of_task = [e for e in published if plain_task(e.choices) == plain_task(of[0].choices)]
        for gain, word in GAINS.items():
            if not placed(of, gain):
                continue
            figure = draw(of, gain, task, of_task, reconstructions)
            for ending in (".svg", ".pdf"):
                save(figure, path := folder / "figures" / f"{name}-{word}{ending}")
                written.append(path)
    for paper, table in papers.items():
        written += _write_table(folder / "tables" / f"paper-{paper}", table)
    return written


def _write_table(path: Path, table: Table) -> list[Path]:
    """Write the table in three formats under one name; return the files written."""
    forms = {
        ".md": f"# {markdown_escaped(table.title)}\n\n{markdown(table)}",
        ".tex": latex(table),
        ".csv": comma_separated(table),
    }
    texts = {path.with_name(path.name + ending): text for ending, text in forms.items()}
    for file, text in texts.items():
        with atomic_write(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(texts)
