"""Published rows against made-up runs of them."""

from __future__ import annotations

from reporting.papers import papers
from tests.made_rows import measure, published, result


def line(experiment, **runs) -> dict[str, str]:
    (table,) = papers([(experiment, runs)], all_papers=True).values()
    return dict(zip(table.header, [cell.text for cell in table.rows[0]], strict=True))


OK = [result(seed, compressed=measure(89.8, 50)) for seed in range(3)]
FAILED = result(3, "diverged: nan", compressed=None)


def test_a_row_says_what_is_known_of_both():
    row = line(published(params_ratio=2.0), published=OK)
    assert row["row"] == "paper/row"
    assert (row["reported top-1 [%]"], row["known from"]) == ("90", "read")
    assert row["ours [%]"] == "89.80 (n=3)"
    assert row["ours, shortened schedule [%]"] == "–"
    assert row["size"] == "params_ratio: 2, reported 2"
    assert row["verdict"] == "reproduced"
    assert row["command"] == "python run.py -m experiment=paper/row seed=0,1,2"


def test_a_short_schedule_decides_nothing_and_failures_are_counted():
    row = line(published(reconstruction=True, params_ratio=3.0), short=OK)
    assert row["row"] == "paper/row (reconstruction)"
    assert (row["ours [%]"], row["ours, shortened schedule [%]"]) == ("–", "89.80 (n=3)")
    assert row["size"] == "params_ratio: –, reported 3"
    assert row["verdict"] == "shortened schedule (3)"
    assert line(published(), short=[*OK, FAILED])["verdict"] == "shortened schedule (3, 1 failed)"
    assert line(published())["verdict"] == "not run"
    assert line(published(), other=OK)["verdict"] == "not run; 3 with other settings"
    row = line(published(), published=[*OK, FAILED])
    assert (row["ours [%]"], row["verdict"]) == ("89.80 (n=3, 1 failed)", "1 of 4 runs failed")


def test_a_table_for_each_paper_that_has_a_run():
    rows = [(published("a/x"), {}), (published("b/x"), {"short": []}), (published("a/y"), {"short": OK})]

    def names(**options):
        return {name: [row[0].text for row in table.rows] for name, table in papers(rows, **options).items()}

    assert names() == {"a": ["a/x", "a/y"]}
    assert names(all_papers=True) == {"a": ["a/x", "a/y"], "b": ["b/x"]}
