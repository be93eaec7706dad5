"""Rows on disk and in tables."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re

import pytest

from evaluation.name import experiment_name
from evaluation.result import Measure, Result, read_result, write_json, write_result
from reporting.print_result import comparison_rows, print_result
from reporting.table import comparison, markdown, pivot, print_comparison
from reporting.variants import variants


def measure(top1=90.0, params=100, **changes) -> Measure:
    values = Measure(top1, None, 0.3, top1 - 1, params, 50, 900, {"1": 0.5, "256": 2.0}, {"1": 1.5, "256": 3.0}, 4, 1.5)
    return dataclasses.replace(values, **changes)


def result(seed=0, status="ok", variant="v", overrides=(), **changes) -> Result:
    choices = {"dataset": "digits", "network": "mlp", "method": "lc_svd"}
    values = Result(
        f"id{seed}", variant, status, choices, seed, {"seed": seed}, list(overrides), {"split": "s"}, {}, "now", 2.0,
        reference=measure(), compressed=measure(88.0 + seed, 25), layers={"fc1": {"rank": 3, "reason": None}},
        history=[{"step": 0, "penalty": 0.1, "ranks": {"fc1": 3}}],
    )  # fmt: skip
    return dataclasses.replace(values, **changes)


def test_a_row_survives_the_disk(tmp_path):
    path = tmp_path / "a" / "result.json"
    write_result(path, result())
    assert read_result(path) == result()
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_nan_becomes_null_on_disk_and_nan_again(tmp_path):
    path = tmp_path / "result.json"
    write_result(path, result(compressed=measure(test_loss=math.nan), violation=math.inf))
    assert "NaN" not in path.read_text()
    json.loads(path.read_text(), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    back = read_result(path)
    assert math.isnan(back.compressed.test_loss)
    assert back.violation is None
    assert back.compressed.test_top5_percent is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"schema_version": "1.0"}', '{"schema_version": 3}', '{"schema_version": "99.0"}', "\x00"],
)
def test_damaged_rows_are_refused_by_name(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"result\.json: not a readable result"):
        read_result(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_comparison_has_means_over_seeds_and_shows_failures():
    rows = [result(s) for s in (0, 1, 2)] + [result(3, "diverged: nan", compressed=None)]
    header, row = comparison(rows)
    cells = dict(zip(header, row, strict=True))
    assert cells["runs"] == "3 ok, 1 diverged"
    assert cells["test error [%]"] == "11.00 ± 2.48"  # 12, 11, 10: t(2) = 4.303, sd 1
    assert cells["params ratio"] == "4.00"
    assert cells["speed-up, batch 1"] == "1.00"
    only_failed = comparison([result(0, "failed: x", reference=None, compressed=None)])[1]
    assert only_failed[1] == "1 failed"
    assert only_failed[-1] == "–"
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"


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
    cells = dict(zip(*comparison([pruned]), strict=True))
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
    assert dict(zip(*comparison([old]), strict=True))["nonzero ratio"] == "1.00"
    assert "nonzero parameters" not in {row[0] for row in comparison_rows(old.reference, old.compressed)}


def test_a_network_of_which_nothing_is_left_has_a_row(capsys):
    gone = result(compressed=measure(10.0, 0, macs=0))
    cells = dict(zip(*comparison([gone]), strict=True))
    assert (cells["parameters"], cells["MACs"]) == ("0", "0")
    assert (cells["params ratio"], cells["nonzero ratio"], cells["MACs ratio"]) == ("inf", "inf", "inf")
    assert comparison_rows(gone.reference, gone.compressed)[3] == ("MACs", "50", "0", "")
    larger = comparison_rows(measure(), measure(params=150))
    assert larger[2] == ("parameters", "100", "150", "1.50× larger")


def test_another_decomposition_than_the_method_is_named_after_is_named():
    choices = {"dataset": "d", "network": "n", "method": "lc_svd", "decomposition": "svd"}
    assert experiment_name(choices) == "d/n/lc_svd"
    assert experiment_name({**choices, "decomposition": "cur"}) == "d/n/lc_svd+cur"
    assert experiment_name({**choices, "method": "reference", "decomposition": "None"}) == "d/n/reference"


def test_a_newer_minor_schema_is_read(tmp_path):
    path = tmp_path / "result.json"
    write_result(path, result())
    data = json.loads(path.read_text()) | {"schema_version": "1.9", "news": 1}
    data["compressed"]["watts"] = 3
    path.write_text(json.dumps(data))
    assert read_result(path).compressed == result().compressed


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
    assert table[0] == ["test error [%], share =", "0.05", "0.2", "none"]
    assert table[1] == ["digits/mlp/svd", "11.00 ± 12.71", "11.00 ± 12.71", ""]
    assert table[2] == ["digits/mlp/prune", "", "11.00 (1 failed)", ""]
    assert table[3] == ["digits/mlp/reference", "", "", "12.00"]
    with pytest.raises(ValueError, match="expected one of test error"):
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
    assert pivot(both, "rank.weight", "test error [%]")[0][1:] == ["0.5", "2"]
    patterns = [row(str(r), rank={"ranks": {"fc1": r, "fc2": 3}}) for r in (4, 5)]
    assert pivot(patterns, "ranks", "parameters")[0][1:] == ["fc1: 4, fc2: 3", "fc1: 5, fc2: 3"]
    same = [
        row("a", rank={"share": 0.1}, code={"_target_": "x"}),
        row("b", rank={"share": 0.1}, code={"_target_": "y"}),
    ]
    with pytest.raises(ValueError, match=r"two experiments are both digits/mlp/lc_svd at 0\.1"):
        pivot(same, "share", "test error [%]")


@pytest.mark.parametrize(
    ("method", "decomposition", "name"),
    [("svd", "svd", "svd"), ("svd", "tt", "svd+tt"), ("tt_svd", "tt", "tt_svd"), ("tt_svd", "svd", "tt_svd+svd"),
     ("admm_tucker", "tucker2", "admm_tucker"), ("admm_tucker", "tucker", "admm_tucker+tucker"),
     ("ntt", "tt", "ntt+tt"), ("musco", "tucker2", "musco"), ("direct", "svd", "direct+svd"),
     ("prune", "None", "prune"), ("somebodys", "svd", "somebodys+svd")],
)  # fmt: skip
def test_a_name_says_the_decomposition_where_it_is_not_the_methods_own(method, decomposition, name):
    choices = {"dataset": "d", "network": "n", "method": method, "decomposition": decomposition}
    assert experiment_name(choices) == f"d/n/{name}"


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
    assert any("digits/lenet300/lc_svd" in line and "2 ok" in line for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": 5}, "status: "),
        ({"seed": None}, "seed: "),
        ({"choices": 3}, "choices: "),
        ({"reference": [1]}, "AttributeError"),
        ({"compressed": {"macs": "many"}}, "compressed."),
        ({"history": "x"}, "history: "),
    ],
)
def test_rows_with_values_of_other_types_are_refused_by_name(tmp_path, change, said):
    path = tmp_path / "result.json"
    write_result(path, result())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=r"result\.json: not a readable result") as caught:
        read_result(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_place_of_a_row_is_refused_by_name(tmp_path):
    (tmp_path / "result.json").mkdir()
    with pytest.raises(ValueError, match="IsADirectoryError"):
        read_result(tmp_path / "result.json")


def test_a_row_may_be_read_by_whom_the_user_allows(tmp_path):
    mask = os.umask(0o027)
    try:
        write_result(tmp_path / "result.json", result())
    finally:
        os.umask(mask)
    assert (tmp_path / "result.json").stat().st_mode & 0o777 == 0o640
