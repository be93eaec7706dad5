"""Texts of rows do nothing in LaTeX, a spreadsheet, Markdown, a terminal or a figure."""

from __future__ import annotations

import csv
import io

import pytest

from reporting.figures import draw
from reporting.flat_table import write_flat_table
from reporting.folder import write_folder
from reporting.markup import comma_separated, latex, markdown
from reporting.print_result import print_result
from reporting.table import Cell, Table
from reporting.terminal import print_comparison
from tests.reporting.sample_rows import make_row

HOSTILE = "a\n\\input{/etc/passwd}\r|x <img src=x onerror=1> [y](javascript:1) \x1b[2J$_{"
FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "-x")


def table(text):
    return Table(text, [text, "b"], [[Cell(text), Cell(text, is_best=True)], [Cell("plain"), Cell("-1.50 ± 0.25")]])


def test_latex_has_no_command_and_no_line_of_a_rows():
    lines = latex(table(HOSTILE)).splitlines()
    assert lines[0].startswith("% a\\textbackslash{}n")
    assert lines[1].startswith("\\begin{tabular}")
    assert not any("\\input" in line for line in lines)
    assert len(lines) == len(latex(table("a")).splitlines())


def test_markdown_has_no_html_no_link_and_no_other_cell():
    text = markdown(table(HOSTILE))
    assert len(text.splitlines()) == 4
    assert "<" not in text and "](" not in text and "\x1b" not in text
    assert all(line.replace("\\|", "").count("|") == 3 for line in text.splitlines())
    assert "a\\\\\\|b" in markdown(table("a\\|b"))  # a backslash before the bar does not free it


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_computes_nothing(text, tmp_path):
    header, first, second = csv.reader(io.StringIO(comma_separated(table(text))))
    assert not {cell.lstrip()[0] for cell in (header[0], *first[:2])} & set("=+-@\t\r")
    assert second == ["plain", "-1.50 ± 0.25"]
    write_flat_table(tmp_path, [make_row(tags=[text], rank_reason=text, violation=-0.5)])
    (row,) = csv.DictReader((tmp_path / "rows.csv").open(newline=""))
    assert not {row[key].lstrip()[0] for key in ("tags", "rank_reason")} & set("=+-@\t\r")
    assert row["violation"] == "-0.5" and row["reference.num_params"] == "1000"


def test_a_terminal_gets_no_escape(tmp_path, capsys):
    choices = make_row().choices | {"method": "m\x1b]0;title\x07\x9b2J"}
    row = make_row(choices=choices, rank_reason="\x1b[1A", layers={"\x1b[2J": {"rank": 1, "reason": "\x1b[31m"}})
    print_comparison([row])
    print_result(row, tmp_path)
    said = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in said)
    assert "\\x1b[1A" in said


def test_a_whole_report_of_a_hostile_row(tmp_path):
    choices = make_row().choices | {"dataset": "../../x", "network": "=n $_{ <b>", "method": "lc\\input{x}$"}
    row = make_row(choices=choices, status="ok", tags=[HOSTILE])
    written = write_folder(tmp_path / "report", [row], [], {}, (), {})
    assert draw([row], "params ratio", "a $_{")  # no mathematics that nobody closes
    assert all(tmp_path / "report" in path.parents for path in written)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    texts = {ending: [p.read_text() for p in written if p.suffix == ending] for ending in (".md", ".tex", ".csv")}
    assert all(texts.values())
    assert not any("<b>" in text for text in texts[".md"])
    assert not any("\\input" in text for text in texts[".tex"])
