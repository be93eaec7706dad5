"""A table for a paper: its columns, names and caption, and that a TeX engine sets it."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from types import SimpleNamespace

import pytest

import report
from reporting.columns import COLUMNS, WORDS
from reporting.markup import latex_float, markdown
from reporting.paper_table import caption, columns_of, read_names, renamed
from reporting.pivot import pivot
from tests.made_rows import measure, result

ENGINE = next((engine for engine in ("pdflatex", "lualatex", "xelatex", "tectonic") if shutil.which(engine)), None)
CHOICES = {"dataset": "mnist", "network": "lenet300", "rank": "budget", "schedule": "short"}


def row(method, share, seed, error, **changes):
    config = {"rank": {"share": share}} if share else {}
    small = measure(100.0 - error, round(1000 * (share or 1)), epochs=12, latency_ms={"1": 0.25, "256": 2.0})
    return result(
        seed, variant=f"{method}{share}", choices=CHOICES | {"method": method}, config=config, compressed=small,
        environment={"device": "A_CPU", "num_threads": 1}, **changes,
    )  # fmt: skip


ROWS = [
    *[row("lc_svd", share, seed, 2.0 + seed / 10) for share in (0.05, 0.1) for seed in range(3)],
    *[row("ntt", 0.05, seed, 4.0 + seed / 10) for seed in range(3)],
    *[row("reference", None, seed, 1.5) for seed in range(3)],
]
COLUMNS_ASKED = columns_of("error,params,macs,latency")


def test_a_group_of_columns_for_each_budget():
    table = pivot(ROWS, "share", COLUMNS_ASKED, {("method", "ntt")})
    assert table.groups == (("share = 0.05", 4), ("share = 0.1", 4), ("none", 4))
    assert table.header == ["method", *COLUMNS_ASKED * 3]
    assert [cell.text for cell in table.rows[0][:5]] == ["lc_svd", "2.10 ± 0.25", "50", "50", "0.250"]
    assert [row[0].text for row in table.rows] == ["lc_svd", "ntt †", "reference"]
    assert table.rows[0][1].is_best and not table.rows[1][1].is_best
    assert markdown(table).startswith("| method | share = 0.05: test error [%] | share = 0.05: parameters |")


def test_every_column_has_a_word():
    assert set(WORDS.values()) == set(COLUMNS) - {"untuned error [%]", "reference error [%]"}
    for words, said in (
        ("error,nope", "got nope"),
        ("error,,macs", "got an empty word"),
        ("macs,macs", "each word once"),
    ):
        with pytest.raises(ValueError, match=said):
            columns_of(words)


def test_methods_have_the_names_that_readers_know():
    table = pivot(ROWS, "share", COLUMNS_ASKED, {("method", "ntt")})
    names = {"lc_svd": "LC-SVD (ours)", "ntt": "Nonlinear TT", "nobody": "x"}
    shown, unused = renamed(table, names, ROWS)
    assert [row[0].text for row in shown.rows] == ["LC-SVD (ours)", "Nonlinear TT †", "reference"]
    assert unused == ["nobody"]
    assert shown.footnotes == table.footnotes, "a mark stays"
    with pytest.raises(ValueError, match="two lines are both called a"):
        renamed(table, {"lc_svd": "a", "reference": "a"}, ROWS)


def test_a_name_stands_for_a_whole_line_or_for_its_method():
    other = [
        dataclasses.replace(made, variant=f"w{made.variant}", config=made.config | {"method": {"gain": 2}})
        for made in ROWS[:6]
    ]
    rows = [*[dataclasses.replace(m, config=m.config | {"method": {"gain": 1}}) for m in ROWS[:6]], *other]
    table = pivot(rows, "share", COLUMNS_ASKED)
    assert [row[0].text for row in table.rows] == ["lc_svd method.gain=1", "lc_svd method.gain=2"]
    shown, _ = renamed(table, {"lc_svd": "LC", "lc_svd method.gain=2": "LC, gained"}, rows)
    assert [row[0].text for row in shown.rows] == ["LC method.gain=1", "LC, gained"]


@pytest.mark.parametrize("text", ["[a]", "a: 1", "a: ''", "a: [b", "3", "1: a"])
def test_a_file_without_names_is_refused(tmp_path, text):
    path = tmp_path / "names.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"names\.yaml: expected"):
        read_names(path)


def test_the_caption_says_what_the_numbers_are():
    table = pivot(ROWS, "share", COLUMNS_ASKED)
    said = caption(ROWS, "share", COLUMNS_ASKED, table)
    assert said == (
        "Test error [%], parameters, MACs, latency, batch 1 [ms] on mnist/lenet300, share = 0.05, 0.1. "
        "Means over n = 3 seeds; ± half of the 95 % interval. "
        "Schedule (short): 4 epochs of the reference, then 12 epochs of each method. "
        "Times on A_CPU, 1 thread. Bold: the best, where its interval excludes the next mean."
    )
    few = [*ROWS[:4], *ROWS[6:]]
    said = caption(few, "share", COLUMNS_ASKED[:1], pivot(few, "share", COLUMNS_ASKED[:1]))
    assert "n = 1 to 3 seeds" in said and "Times" not in said


@pytest.mark.skipif(ENGINE is None, reason="no TeX engine on the path: pdflatex, lualatex, xelatex or tectonic")
def test_a_tex_engine_sets_the_table(tmp_path):
    rows = [*ROWS, row("prune_{x}$&%#", 0.1, 0, 3.0)]  # of one seed, with all that TeX would read as a command
    table, _ = renamed(pivot(rows, "share", COLUMNS_ASKED, {("method", "ntt")}), {"ntt": "Nonlinear_TT"}, rows)
    text = latex_float(table, caption(rows, "share", COLUMNS_ASKED, table), "tab:mnist/lenet300_share")
    assert "\\label{tab:mnist-lenet300-share}" in text
    assert "\\cmidrule(lr){2-5} \\cmidrule(lr){6-9} \\cmidrule(lr){10-13}" in text
    preamble = "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}\\begin{document}\n"
    (tmp_path / "paper.tex").write_text(f"{preamble}{text}\\end{{document}}\n", encoding="utf-8")
    options = [] if ENGINE == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [ENGINE, *options, "paper.tex"], cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=600
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 1000


def test_the_command_prints_it(tmp_path, capsys, monkeypatch):
    rows = SimpleNamespace(results=ROWS)
    names = tmp_path / "names.yaml"
    names.write_text("lc_svd: LC-SVD\nnobody: x\n")
    arguments = ["--across", "share", "--latex", "--columns", "error,latency", "--names", str(names)]
    text = report._asked(report._parser().parse_args(arguments), rows)
    assert text.startswith(
        "\\begin{table}\n\\caption{Test error [\\%], latency, batch 1 [ms] on mnist/lenet300, share = "
    )
    assert "\nLC-SVD & \\textbf{2.10 $\\pm$ 0.25} & 0.250 & 2.10" in text
    assert capsys.readouterr().err == "note: --names: no line is called nobody\n"
    for wrong, said in (
        (["--latex"], "--latex says how --across is shown; give --across too"),
        (["--across", "share", "--columns", "macs", "--column", "MACs"], "--column and --columns say the same"),
    ):
        monkeypatch.setattr("sys.argv", ["report.py", *wrong])
        with pytest.raises(SystemExit, match=said):
            report.main()
