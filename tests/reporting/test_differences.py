"""Differences of methods, seed by seed: what is one, what is a tie, and over which methods p-values are corrected."""

from __future__ import annotations

import pytest
from scipy import stats

from reporting.differences import compared, differences_across, differences_from_best, differences_near
from reporting.tasks import by_task
from reporting.variants import variants
from tests.made_rows import measure, result

BASE = (5.0, 9.0, 7.0)  # errors of the seeds, which vary more than the methods do


def rows(method, share, *errors, params=None, task="mlp"):
    choices = {"dataset": "digits", "network": task, "method": method, "rank": "budget"}
    return [
        result(
            seed, variant=f"{task}{method}{share}", choices=choices, config={"rank": {"share": share}},
            compressed=measure(100.0 - error, params or round(1000 * share)),
        )
        for seed, error in enumerate(errors)
    ]  # fmt: skip


def moved(*changes):
    return tuple(error + change for error, change in zip(BASE, changes, strict=True))


ROWS = [
    *rows("svd", 0.1, *BASE),
    *rows("lc_svd", 0.1, *moved(-1.0, -1.1, -0.9)),
    *rows("cur", 0.1, *moved(0.6, -0.4, 0.1)),
    *rows("tt", 0.1, 4.0),
    *rows("svd", 0.2, *BASE),
    *rows("cur", 0.2, *moved(1.0, 1.1, 0.9)),
]


def test_differences_are_corrected_over_the_methods_of_a_value():
    table = differences_across(ROWS, "share", "svd")
    cells = {row[0].text: row[1:] for row in table.rows}
    assert table.header[1:] == ["0.1", "0.2"]
    assert {name: [cell.text for cell in of] for name, of in cells.items()} == {
        "svd": ["=", "="],
        "lc_svd": ["-1.00 ± 0.25 (p = 0.0066)", ""],  # 0.0033 of two that have a p-value
        "cur": ["tie (+0.10 ± 1.24, p = 0.76)", "+1.00 ± 0.25 (p = 0.0033)"],  # 0.0033 of one
        "tt": ["-1.00¹", ""],
    }
    assert 2 * stats.ttest_1samp([-1.0, -1.1, -0.9], 0).pvalue == pytest.approx(0.0066, rel=0.01)
    assert cells["lc_svd"][0].is_best and not cells["cur"][1].is_best, "a smaller error is better"
    for column in ("speed-up, batch 1", "epochs", "nope"):
        with pytest.raises(ValueError, match="--against: expected a column of which one way is better"):
            differences_across(ROWS, "share", "svd", column)
    with pytest.raises(ValueError, match="expected a line of the table, svd, lc_svd, cur, tt; got nobody"):
        differences_across(ROWS, "share", "nobody")


def test_a_baseline_without_the_setting_is_compared_with_at_each_value():
    reference = [row for row in rows("reference", 1.0, *BASE)]
    for row in reference:
        row.config.clear()
    table = differences_across([*ROWS, *reference], "share", "reference")
    cells = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert cells["lc_svd"][0].startswith("-1.00 ± 0.25 (p = 0.0") and cells["svd"][0].startswith("tie (+0.00")
    assert cells["cur"][1].startswith("+1.00 ± 0.25 (p = 0.0"), "at each value"


def test_differences_of_milliseconds_have_three_significant_digits():
    slower = [
        result(
            seed, variant=f"{method}{seed % 1}", config={"rank": {"share": 0.1}},
            choices={"dataset": "digits", "network": "mlp", "method": method, "rank": "budget"},
            compressed=measure(90.0, 100, latency_ms={"1": latency, "256": 1.0}),
        )
        for method, latency in (("svd", 0.04), ("cur", 0.0431)) for seed in (0, 1)
    ]  # fmt: skip
    table = differences_across(slower, "share", "svd", "latency, batch 1 [ms]")
    assert [row[1].text for row in table.rows] == ["=", "+0.00310 ± 0.00000 (p < 0.001)"]


def test_networks_of_two_tasks_are_not_paired_by_their_seeds():
    with pytest.raises(ValueError, match="rows of one dataset and network, got digits/lenet, digits/mlp"):
        differences_across([*ROWS, *rows("svd", 0.1, *BASE, task="lenet")], "share", "digits/mlp/svd")


def test_a_whole_report_compares_with_what_is_best_on_the_validation_part():
    """It is one point above the errors of the test part in these rows."""
    (of,) = by_task(ROWS[:9]).values()
    table = differences_from_best(of)
    assert table.title == "digits/mlp: differences from lc_svd, the best on the validation part"
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["svd", "+1.00 ± 0.25 (p = 0.0066)"],
        ["lc_svd", "="],
        ["cur", "tie (+1.10 ± 1.14, p = 0.053)"],
    ]
    assert differences_from_best(rows("svd", 0.1, *BASE)) is None


def test_the_page_compares_settings_of_like_size():
    found = variants([*ROWS, *rows("prune", 0.1, *BASE, params=5), *rows("svd", 0.1, *BASE, task="other")])
    places = {variant.results[0].variant: place for place, variant in enumerate(found)}
    told = differences_near(found)
    svd = told[places["mlpsvd0.1"]]
    assert set(svd) == {places["mlplc_svd0.1"], places["mlpcur0.1"], places["mlpprune0.1"]} | {
        places["mlpsvd0.2"],
        places["mlpcur0.2"],
    }, "bytes and MACs of these rows are all alike"
    assert svd[places["mlplc_svd0.1"]].startswith("+1.00 ± 0.25 (p = 0.0")
    assert places["mlptt0.1"] not in told and places["othersvd0.1"] not in told


def test_what_shares_no_seed_has_no_difference():
    assert [cell.text for cell in compared("test error [%]", [ROWS[0]], [[ROWS[1]], []])] == ["–", "–"]
