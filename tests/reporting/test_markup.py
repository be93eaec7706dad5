"""Tables in their forms: Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess

import pytest

from evaluation.statistics import mean
from orchestration.config.published import experiments
from reporting.markup import comma_separated, latex, markdown
from reporting.papers import papers
from reporting.pareto import fronts
from reporting.rows import read_rows
from reporting.table import Cell, Table, comparison
from reporting.tasks import by_task
from tests.conftest import ROOT

MEAN = mean([88.0, 89.0])


AWKWARD = Table(
    "a & b",
    ["method_x", "top-1 [%]", "runs"],
    [
        [Cell("lc_cur † rank.share=0.1"), Cell("1,234.50 ± 0.25", MEAN, is_best=True), Cell("2 ok")],
        [Cell(r"a|b {c} $d ~e ^f \g <h> #i"), Cell("–"), Cell("1 failed")],
    ],
)


def test_markdown_marks_the_best_and_explains_the_marks():
    lines = markdown(AWKWARD).splitlines()
    assert lines[:3] == [
        "| method_x | top-1 [%] | runs |", "| --- | ---: | ---: |",
        "| lc_cur † rank.share=0.1 | **1,234.50 ± 0.25** | 2 ok |",
    ]  # fmt: skip
    assert "a\\|b" in lines[3], "a bar would end the cell"
    assert lines[-1].startswith("† a reconstruction")


def test_words_begin_at_the_left_and_numbers_end_at_the_right():
    table = Table(
        "t", ["a", "b", "c"], [[Cell("1"), Cell("-1.50 ± 2"), Cell("not run")], [Cell("2"), Cell(""), Cell("3")]]
    )
    assert markdown(table).splitlines()[1] == "| --- | ---: | --- |"
    assert "{lrl}" in latex(table)


def test_values_apart_in_csv():
    header, first, second = csv.reader(io.StringIO(comma_separated(AWKWARD)))
    assert header == ["method_x", "top-1 [%]", "top-1 [%] low", "top-1 [%] high", "runs"]
    value, low, high = map(float, first[1:4])
    assert value == 88.5 and high - low == pytest.approx(2 * 12.7062 * 0.5, rel=1e-4)
    assert second == [r"a|b {c} $d ~e ^f \g <h> #i", "", "", "", "1 failed"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX engine (pdflatex) on the path")
def test_latex_compiles(tmp_path):
    """A table of awkward letters, and all tables of the committed rows and the published ones."""
    tasks = by_task(read_rows([ROOT / "measured"]).results)
    tables = [table for of in tasks.values() for table in (comparison(of), fronts(of))]
    published = papers(((experiment, {}) for experiment in experiments(set())), all_papers=True).values()
    sized = "".join(
        f"\\resizebox{{\\textwidth}}{{!}}{{{latex(t)}}}\\clearpage\n" for t in [AWKWARD, *tables, *published]
    )
    document = (
        "\\documentclass{article}\\usepackage[landscape]{geometry}\\usepackage{booktabs,graphicx}\\usepackage[T1]{fontenc}"
        f"\\begin{{document}}{sized}\\end{{document}}"
    )
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout
    assert (tmp_path / "table.pdf").stat().st_size > 1000


def test_latex_has_booktabs_rules_and_no_bare_command_characters():
    text = latex(AWKWARD)
    assert "\\begin{tabular}{lrr}" in text
    assert text.split("\\bottomrule\n")[1].startswith(
        "\\multicolumn{3}{l}{\\footnotesize \\textdagger{} a reconstruction"
    )
    assert [line for line in text.splitlines() if line.startswith("\\") and "rule" in line] == [
        "\\toprule", "\\midrule", "\\bottomrule"
    ]  # fmt: skip
    assert "\\textbf{1,234.50 $\\pm$ 0.25}" in text
    assert "a|b \\{c\\} \\$d \\textasciitilde{}e \\textasciicircum{}f \\textbackslash{}g" in text
