"""Tables over rows that are made up: names, means, failures, the best, and their forms."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess

import pytest
from conftest import ROOT
from results import measure, result

from evaluation.result import read_result, write_result
from evaluation.statistics import mean
from orchestration.experiments import experiments
from reporting.fronts import fronts
from reporting.markup import comma_separated, latex, markdown
from reporting.papers import papers
from reporting.print_result import comparison_rows, print_result
from reporting.rows import read_rows
from reporting.table import COMPARED, Cell, Table, by_task, comparison, pivot
from reporting.terminal import print_comparison
from reporting.variants import variants


def texts(table: Table, row: int = 0) -> dict[str, str]:
    return {name: cell.text for name, cell in zip(table.header, table.rows[row], strict=True)}


def test_comparison_has_means_over_seeds_and_shows_failures():
    rows = [result(s) for s in (0, 1, 2)] + [result(3, "diverged: nan", compressed=None)]
    cells = texts(comparison(rows))
    assert list(cells) == ["method", "runs", *COMPARED]
    assert cells["runs"] == "3 ok, 1 diverged"
    assert cells["top-1 [%]"] == "89.00 ± 2.48"  # 88, 89, 90: t(2) = 4.303, sd 1
    assert cells["Δ reference"] == "-1.00 ± 2.48"
    assert (cells["parameters"], cells["params ratio"]) == ("25", "4.00")
    assert cells["speed-up, batch 1"] == cells["memory ratio"] == "1.00"
    assert cells["seconds"] == "1.50"
    only_failed = texts(comparison([result(0, "failed: x", reference=None, compressed=None)]))
    assert only_failed["runs"] == "1 failed"
    assert only_failed["epochs"] == "–"


def test_differences_are_taken_seed_by_seed():
    """Accuracies vary from seed to seed, and what compression loses does not."""
    rows = [result(s, reference=measure(90.0 + 3 * s), compressed=measure(89.0 + 3 * s, 25)) for s in range(3)]
    cells = texts(comparison(rows))
    assert cells["top-1 [%]"] == "92.00 ± 7.45"
    assert cells["Δ reference"] == "-1.00"


def test_the_best_of_a_column_is_marked_and_the_reference_is_none():
    of = {"dataset": "digits", "network": "mlp"}
    rows = [
        result(0, variant="a", choices=of | {"method": "svd"}, compressed=measure(80.0, 10, seconds=9.0)),
        result(0, variant="b", choices=of | {"method": "cur"}, compressed=measure(85.0, 20, seconds=3.0)),
        result(0, variant="c", choices=of | {"method": "tt"}, compressed=measure(85.0, 20, macs=40, seconds=3.0)),
        result(0, variant="d", choices=of | {"method": "reference"}, compressed=measure(90.0, 1, seconds=0.0)),
        result(0, "failed: x", variant="e", choices=of | {"method": "ntt"}, compressed=None),
    ]
    table = comparison(rows)
    best = {
        name: {row[0].text.split("/")[-1] for row in table.rows if row[place].is_best}
        for place, name in enumerate(table.header)
    }
    assert best["top-1 [%]"] == best["seconds"] == {"cur", "tt"}
    assert best["parameters"] == best["params ratio"] == {"svd"}
    assert best["MACs"] == {"tt"}
    assert best["bytes ratio"] == set(), "where all are alike none is best"
    assert best["epochs"] == set(), "nobody can say whether more is better"


def test_rows_are_grouped_by_dataset_and_network():
    other = {"dataset": "mnist", "network": "mlp", "method": "svd"}
    tasks = by_task([result(1, variant="w", choices=other), result(0)])
    assert list(tasks) == ["digits/mlp", "mnist/mlp"]
    assert texts(comparison(tasks["mnist/mlp"]))["method"] == "svd"


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
    published = papers((experiment, {}) for experiment in experiments(set())).values()
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
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120,
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


def test_variants_are_told_apart_by_the_overrides_they_do_not_share():
    rows = [
        result(
            s, variant=str(w), config={"seed": s, "rank": {"weight": w}, "method": {"rank": {"weight": w}, "layers": 1}}
        )
        for s in (0, 1)
        for w in (1, 2)
    ]
    found = variants(rows)
    assert [v.name for v in found] == ["digits/mlp/lc_svd rank.weight=1", "digits/mlp/lc_svd rank.weight=2"]
    assert [[r.seed for r in v.results] for v in found] == [[0, 1], [0, 1]]


def test_nonzero_parameters_have_a_column_and_rows_without_them_are_read(tmp_path):
    pruned = result(compressed=measure(88.0, 100, num_nonzero=20), reference=measure(num_nonzero=99))
    cells = texts(comparison([pruned]))
    assert (cells["params ratio"], cells["nonzero ratio"]) == ("1.00", "5.00")
    shown = {row[0]: row[1:] for row in comparison_rows(pruned.reference, pruned.compressed)}
    assert shown["nonzero parameters"] == ("99", "20", "4.95× fewer")
    path = tmp_path / "result.json"
    write_result(path, pruned)
    data = json.loads(path.read_text()) | {"schema_version": "1.0"}
    for measured in (data["reference"], data["compressed"]):
        del measured["num_nonzero"]
    path.write_text(json.dumps(data))
    old = read_result(path)
    assert old.compressed.num_nonzero is None
    assert texts(comparison([old]))["nonzero ratio"] == "1.00"
    assert "nonzero parameters" not in {row[0] for row in comparison_rows(old.reference, old.compressed)}


def test_a_network_of_which_nothing_is_left_has_a_row(capsys):
    gone = result(compressed=measure(10.0, 0, macs=0))
    cells = texts(comparison([gone]))
    assert (cells["parameters"], cells["MACs"]) == ("0", "0")
    assert (cells["params ratio"], cells["nonzero ratio"], cells["MACs ratio"]) == ("inf", "inf", "inf")
    assert comparison_rows(gone.reference, gone.compressed)[3] == ("MACs", "50", "0", "")
    larger = comparison_rows(measure(), measure(params=150))
    assert larger[2] == ("parameters", "100", "150", "1.50× larger")


def test_a_row_in_the_terminal_says_what_got_worse(tmp_path, capsys):
    slower = measure(88.5, 25, latency_ms={"1": 1.0, "256": 1.0})
    rows = {row[0]: row[3] for row in comparison_rows(measure(), slower)}
    assert rows["test top-1 [%]"] == "-1.50 points"
    assert rows["parameters"] == "4.00× smaller"
    assert rows["latency, batch 1 [ms]"] == "2.00× slower"
    assert rows["latency, batch 256 [ms]"] == "2.00× faster"
    print_result(result(), tmp_path)
    printed = capsys.readouterr().out
    assert "fc1: rank 3" in printed
    assert str(tmp_path) in printed
    assert "latency, batch 1 [ms]" in printed, "rich takes words in brackets for markup"


def test_variants_with_other_options_are_named_by_the_option():
    """Not by its target, nor by keys that only one option has."""
    choices = {"dataset": "digits", "network": "mlp", "method": "svd", "decomposition": "svd"}
    rules = [("cost", {"_target_": "x.Cost", "weight": w}) for w in (1, 2)] + [
        ("fixed", {"_target_": "x.F", "ranks": 3})
    ]
    rows = [
        result(0, variant=str(i), choices=choices | {"rank": name}, config={"rank": rule, "method": {"rank": rule}})
        for i, (name, rule) in enumerate(rules)
    ]
    names = [variant.name.removeprefix("digits/mlp/svd ") for variant in variants(rows)]
    assert names == ["rank=cost rank.weight=1", "rank=cost rank.weight=2", "rank=fixed"]


def test_what_older_code_did_not_have_names_a_variant_only_where_nothing_else_does():
    def row(variant, **config):
        return result(0, variant=variant, config=config)

    def names(rows):
        return [variant.name.removeprefix("digits/mlp/lc_svd") for variant in variants(rows)]

    old = row("a", epochs=30)
    assert names([old, row("b", epochs=12, padding=0, accumulate=1)]) == [" epochs=30", " epochs=12"]
    assert names([old, row("b", epochs=30, padding=0)]) == ["", " padding=0"]
    newer = [row(str(weight), epochs=12, padding=0, weight=weight) for weight in (0, 0.9)]
    assert names([old, *newer]) == [" epochs=30", " epochs=12 weight=0", " epochs=12 weight=0.9"]


def test_one_setting_across_is_one_line_a_method():
    """A budget is a setting of the rank rule in one method and of the method itself in another."""
    low_rank = {"dataset": "digits", "network": "mlp", "method": "svd", "decomposition": "svd", "rank": "budget"}
    pruned = {"dataset": "digits", "network": "mlp", "method": "prune"}
    rows = [
        result(seed, variant=f"svd{share}", choices=low_rank, config={"rank": {"share": share}})
        for share in (0.2, 0.05) for seed in (0, 2)
    ]  # fmt: skip
    rows += [
        result(1, variant="prune", choices=pruned, config={"method": {"share": 0.2}}),
        result(0, "failed: x", variant="prune", choices=pruned, config={"method": {"share": 0.2}}, compressed=None),
        result(0, variant="reference", choices=pruned | {"method": "reference"}, config={}),
    ]
    table = pivot(rows, "share", "test error [%]")
    assert table.header == ["test error [%], share =", "0.05", "0.2", "none"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["svd", "11.00 ± 12.71", "11.00 ± 12.71", ""],
        ["prune", "", "11.00 (1 failed)", ""],
        ["reference", "", "", "12.00"],
    ]
    with pytest.raises(ValueError, match=r"expected one of top-1 \[%\]"):
        pivot(rows, "share", "accuracy")
    with pytest.raises(ValueError, match="nonsense: no setting of these experiments is called so"):
        pivot(rows, "nonsense", "test error [%]")


def test_a_setting_across_is_one_setting_and_no_cell_is_lost():
    choices = {"dataset": "digits", "network": "mlp", "method": "lc_svd", "rank": "cost"}

    def row(variant, **config):
        return result(0, variant=variant, choices=choices, config=config)

    both = [row(str(w), rank={"weight": w}, schedule={"distillation": {"weight": 0.0}}) for w in (0.5, 2)]
    with pytest.raises(ValueError, match=r"got one of rank\.weight, schedule\.distillation\.weight; say which"):
        pivot(both, "weight", "test error [%]")
    assert pivot(both, "rank.weight", "test error [%]").header[1:] == ["0.5", "2"]
    patterns = [row(str(r), rank={"ranks": {"fc1": r, "fc2": 3}}) for r in (4, 5)]
    assert pivot(patterns, "ranks", "parameters").header[1:] == ["fc1: 4, fc2: 3", "fc1: 5, fc2: 3"]
    same = [
        row("a", rank={"share": 0.1}, code={"_target_": "x"}),
        row("b", rank={"share": 0.1}, code={"_target_": "y"}),
    ]
    with pytest.raises(ValueError, match=r"two experiments are both lc_svd at 0\.1"):
        pivot(same, "share", "test error [%]")


def test_a_sweep_keeps_its_columns_at_eighty_characters_and_its_rows_in_a_log(monkeypatch, capsys):
    rows = [
        result(s, variant="v" * 5, choices={"dataset": "digits", "network": "lenet300", "method": "lc_svd"})
        for s in (0, 1)
    ]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_comparison([*rows, result(2, "diverged: nan", variant="v" * 5, compressed=None)])
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, printed.splitlines())) <= 80
    for word in ("2 ok", "diverged", "params", "nonzero", "MACs", "speed"):
        assert word in printed
    monkeypatch.delenv("FORCE_COLOR")
    print_comparison(rows)
    assert any("lc_svd" in line and "2 ok" in line for line in capsys.readouterr().out.splitlines())
