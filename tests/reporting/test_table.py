"""Tables over rows that are made up: means, failures, the best, one setting across."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evaluation.result import read_result, write_result
from reporting.pivot import pivot
from reporting.print_result import comparison_rows
from reporting.table import COMPARED, ONE_SEED_FOOTNOTE, Table, comparison
from reporting.tasks import by_task
from reporting.variants import SMOKE_FOOTNOTE
from tests.made_rows import measure, result


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
    assert texts(pivot([result(0, config={"rank": {"share": 0.1}})], "share", "untuned error [%]"))["0.1"] == "–"
    only_failed = texts(comparison([result(0, "failed: x", reference=None, compressed=None)]))
    assert only_failed["runs"] == "1 failed"
    assert only_failed["epochs"] == "–"


def test_differences_are_taken_seed_by_seed():
    """Accuracies vary from seed to seed, and what compression loses does not."""
    rows = [result(s, reference=measure(90.0 + 3 * s), compressed=measure(89.0 + 3 * s, 25)) for s in range(3)]
    cells = texts(comparison(rows))
    assert cells["top-1 [%]"] == "92.00 ± 7.45"
    assert cells["Δ reference"] == "-1.00"


def best_of(table: Table) -> dict[str, set[str]]:
    """The methods in bold, for each column."""
    return {
        name: {row[0].text.split("/")[-1] for row in table.rows if row[place].is_best}
        for place, name in enumerate(table.header)
    }


def test_the_best_of_a_column_is_marked_and_the_reference_is_none():
    of = {"dataset": "digits", "network": "mlp"}
    rows = []
    for seed in (0, 1):
        rows += [
            result(seed, variant="a", choices=of | {"method": "svd"}, compressed=measure(80.0, 10, seconds=9.0)),
            result(seed, variant="b", choices=of | {"method": "cur"}, compressed=measure(85.0, 20, seconds=3.0)),
            result(seed, variant="c", choices=of | {"method": "tt"}, compressed=measure(85.0, 20, macs=4, seconds=3.0)),
            result(seed, variant="d", choices=of | {"method": "reference"}, compressed=measure(90.0, 1, seconds=0.0)),
            result(seed, "failed: x", variant="e", choices=of | {"method": "ntt"}, compressed=None),
        ]
    best = best_of(comparison(rows))
    assert best["top-1 [%]"] == best["seconds"] == {"cur", "tt"}
    assert best["parameters"] == best["params ratio"] == {"svd"}
    assert best["MACs"] == {"tt"}
    assert best["bytes ratio"] == set(), "where all are alike none is best"
    assert best["epochs"] == set(), "nobody can say whether more is better"


def seeds(method, *errors, latency=None, **changes):
    """A row for each test error; `latency` of the compressed network at batch 1, the reference's is 0.5 ms."""
    choices = {"dataset": "digits", "network": "mlp", "method": method}
    times = latency or [0.5] * len(errors)
    return [
        result(
            seed, variant=method, choices=choices, **changes,
            compressed=measure(100.0 - error, 25, latency_ms={"1": times[seed], "256": 2.0}),
        )
        for seed, error in enumerate(errors)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        ((3.0, 3.1, 3.2), (4.0, 4.1, 4.2), {"svd"}),  # 3.1 ± 0.25 excludes 4.1
        ((3.0, 3.5, 4.0), (4.0, 4.1, 4.2), set()),  # 3.5 ± 1.24 does not
        ((3.0,), (4.0, 4.1, 4.2), set()),  # one seed has no interval
        ((3.0, 3.1, 3.2), (9.0,), {"svd"}),
    ],
)
def test_the_best_is_bold_where_its_interval_excludes_the_next(first, second, best):
    table = comparison([*seeds("svd", *first), *seeds("cur", *second)])
    assert best_of(table)["top-1 [%]"] == best


def test_a_latency_that_nobody_knows_is_not_the_best():
    """31.15 ± 59.12 was."""
    rows = [*seeds("svd", 3, 3, 3, latency=[60.0, 15.0, 18.45]), *seeds("cur", 3, 3, 3, latency=[41.0, 41.1, 40.9])]
    table = comparison(rows, ("latency, batch 1 [ms]",))
    assert [row[2].text for row in table.rows] == ["31.2 ± 62.2", "41.0 ± 0.2"]
    assert best_of(table)["latency, batch 1 [ms]"] == set()


def test_speed_ratios_are_means_of_logarithms():
    """Twice as fast and half as fast are as fast."""
    (row,) = comparison(seeds("svd", 3, 3, latency=[0.25, 1.0]), ("speed-up, batch 1", "parameters")).rows
    assert row[2].text == "1.00 (0.00–6,682.65)"  # exp(± 12.706 · log 2)
    assert row[3].text == "25"
    (row,) = comparison(seeds("svd", 3, 3, 3, latency=[0.5, 0.4, 0.45]), ("speed-up, batch 1",)).rows
    logarithms = np.log([1.0, 1.25, 0.5 / 0.45])
    half = 4.302653 * logarithms.std(ddof=1) / 3**0.5
    low, high = np.exp(logarithms.mean() - half), np.exp(logarithms.mean() + half)
    assert row[2].text == f"{np.exp(logarithms.mean()):.2f} ({low:.2f}–{high:.2f})"


def test_smoke_rows_are_marked_and_never_the_best():
    smoke = seeds("svd", 1.0, 1.1, config={"trainer": {"limit_batches": 2}})
    table = comparison([*smoke, *seeds("cur", 3.0, 3.1), *seeds("tt", 8.0, 8.1)])
    assert [row[0].text for row in table.rows] == ["svd ‡", "cur", "tt"]
    assert best_of(table)["top-1 [%]"] == {"cur"}
    assert table.footnotes == [SMOKE_FOOTNOTE]


def test_folders_of_other_images_have_tables_of_their_own():
    def of(name, data, seed=0, status="ok"):
        config = {"dataset": {"name": name, "size": 32}}
        signature = {"split": "s"} | ({"data": data} if data else {})
        choices = {"dataset": "image_folder", "network": "mlp", "method": "svd"}
        return result(seed, status, variant=f"{name}{data}", choices=choices, config=config, signature=signature)

    cats, dogs, more_dogs = of("cats", "aaaaaaaaaaaa"), of("dogs", "bbbbbbbbbbbb"), of("dogs", "cccccccccccc")
    assert list(by_task([cats])) == ["image_folder/mlp"]
    assert list(by_task([cats, dogs])) == ["image_folder(cats)/mlp", "image_folder(dogs)/mlp"]
    assert list(by_task([dogs, more_dogs])) == ["image_folder@bbbbbb/mlp", "image_folder@cccccc/mlp"]
    tasks = by_task([cats, dogs, more_dogs, of("dogs", None)])
    assert list(tasks) == [
        "image_folder(cats)/mlp", "image_folder(dogs)@bbbbbb/mlp", "image_folder(dogs)@cccccc/mlp",
        "image_folder(dogs)@unknown/mlp",
    ]  # fmt: skip
    early = of("cats", None, 1, "failed: x")
    assert by_task([cats, early]) == {"image_folder/mlp": [cats, early]}, "a row that failed before it read its data"
    names = [row[0].text for row in comparison([cats, dogs]).rows]
    assert names == ["image_folder(cats)/mlp/svd", "image_folder(dogs)/mlp/svd"]


def test_rows_are_grouped_by_dataset_and_network():
    other = {"dataset": "mnist", "network": "mlp", "method": "svd"}
    tasks = by_task([result(1, variant="w", choices=other), result(0)])
    assert list(tasks) == ["digits/mlp", "mnist/mlp"]
    assert texts(comparison(tasks["mnist/mlp"]))["method"] == "svd"


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
        ["prune", "", "11.00¹ (1 failed)", ""],
        ["reference", "", "", "12.00¹"],
    ]
    assert table.footnotes == [ONE_SEED_FOOTNOTE]
    with pytest.raises(ValueError, match=r"expected one of top-1 \[%\]"):
        pivot(rows, "share", "accuracy")
    with pytest.raises(ValueError, match="no run has a setting 'nonsense'; omit --across to list them"):
        pivot(rows, "nonsense", "test error [%]")


def test_words_stand_before_none_and_of_two_tasks_no_number_is_bold():
    def row(seed, method, network, config, top1):
        choices = {"dataset": "digits", "network": network, "method": method, "rank": "budget"}
        variant = f"{method}{network}{config}"
        return result(seed, variant=variant, choices=choices, config=config, compressed=measure(top1, 100))

    of = [("macs", 90.0), ("params", 80.0)]
    rows = [row(s, "svd", "mlp", {"rank": {"of": word}}, top1 + s / 100) for word, top1 in of for s in (0, 1)]
    rows += [row(s, "cur", "mlp", {"rank": {"of": word}}, top1 - 9 + s / 100) for word, top1 in of for s in (0, 1)]
    rows += [row(s, "prune", "mlp", {}, 85.0) for s in (0, 1)]
    table = pivot(rows, "of", "test error [%]")
    assert table.header[1:] == ["macs", "params", "none"]
    assert sum(cell.is_best for line in table.rows for cell in line) == 2
    other = [row(s, "svd", "lenet5", {"rank": {"of": "macs"}}, 99.0 + s / 100) for s in (0, 1)]
    assert not any(cell.is_best for line in pivot([*rows, *other], "of", "test error [%]").rows for cell in line)


def test_a_metric_across_is_one_line_a_method():
    """Its options are no part of the names, nor is what its file sets for the method."""
    svd = {"dataset": "digits", "network": "mlp", "method": "svd", "rank": "budget"}

    def row(variant, chosen, **config):
        return result(variant=variant, choices=svd | {"metric": chosen}, config=config)

    older = result(variant="a", choices=svd, config={"method": {"normalize": True}})
    gram = row("b", "gram", method={"normalize": True}, metric={"num_samples": 4096, "shrinkage": 0.0})
    kfac = row("c", "kfac", method={"normalize": False}, metric={"num_samples": 4096, "shrinkage": 0.0})
    table = pivot([older, gram, kfac], "metric", "test error [%]")
    assert table.header == ["test error [%], metric =", "gram", "identity", "kfac"]
    assert [row[0].text for row in table.rows] == ["svd"]
    shrunk = row("d", "gram", method={"normalize": True}, metric={"num_samples": 4096, "shrinkage": 0.5})
    names = [row[0].text for row in pivot([older, gram, shrunk], "metric", "test error [%]").rows]
    assert names == ["svd", "svd metric.shrinkage=0", "svd metric.shrinkage=0.5"]


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
