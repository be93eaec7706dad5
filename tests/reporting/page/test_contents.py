"""The contents of the page, its size, and that it takes nothing from elsewhere."""

from __future__ import annotations

import json
import math

import pytest

from evaluation.statistics import geometric_mean, mean
from reporting.columns import COLUMNS
from reporting.page import write_page
from reporting.page.contents import contents
from tests.reporting.page.page_rows import EVIL, PUBLISHED, committed, many, odd, published


@pytest.fixture(scope="module")
def rows():
    return committed()


def test_numbers_are_those_of_the_tables(rows, tmp_path):
    known = contents(rows, PUBLISHED, {("method", "ntt")}, {}, tmp_path)
    run, row = known["runs"][40], rows[40]
    assert run["id"] == row.id
    for name, of in COLUMNS.items():
        value = of(row.reference, row.compressed)
        if math.isnan(value):  # a row without it
            assert run["values"][name] is None
        else:
            assert run["values"][name] == pytest.approx(value, rel=1e-5)
    seeds = [r for r in rows if r.variant == row.variant]
    error = mean([100 - r.compressed.test_top1_percent for r in seeds])
    variant = known["variants"][run["variant"]]
    assert variant["values"]["test error [%]"] == pytest.approx(error.value, rel=1e-5)
    assert variant["half_widths"]["test error [%]"] == pytest.approx(error.half_width, rel=1e-5)
    speeds = [r.reference.latency_ms["1"] / r.compressed.latency_ms["1"] for r in seeds]
    assert variant["values"]["speed-up, batch 1"] == pytest.approx(geometric_mean(speeds).value, rel=1e-5)
    low, high = variant["ranges"]["speed-up, batch 1"]
    assert low < variant["values"]["speed-up, batch 1"] < high and "speed-up, batch 1" not in variant["half_widths"]
    assert known["methods"]["ntt"]["mark"] and not known["methods"]["tt"]["mark"]


def test_what_is_undefined_is_null_and_what_failed_is_there(rows, tmp_path):
    failed, diverged = contents(odd(rows[0]), (), (), {}, tmp_path)["runs"]
    assert failed["state"] == "failed" and failed["values"] == {} and failed["comparison"] == []
    assert diverged["state"] == "diverged" and diverged["values"] == {}
    assert diverged["comparison"][0] == ["test top-1 [%]", f"{rows[0].reference.test_top1_percent:.2f}", "–", "–"]
    json.dumps(contents([*rows, *odd(rows[0])], (), (), {}, tmp_path), allow_nan=False)


def test_sizes_that_are_reported_become_ratios(rows, tmp_path):
    more = published("yin21/small", "mnist", "lenet300", "admm_tt", top1_percent=97.0, params_ratio=3.0)
    known = contents(rows, [*PUBLISHED, more], (), {}, tmp_path)["reported"]
    assert [row["params ratio"] for row in known] == [1.0, pytest.approx(266_610 / 26_661), None, 3.0]
    assert known[1]["test error [%]"] == pytest.approx(2.0)


def test_links_lead_from_the_page_to_the_files(rows, tmp_path):
    folder = tmp_path / "rows #1" / "a"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    run = contents(rows[:1], (), (), {rows[0].id: folder}, tmp_path / "report")["runs"][0]
    assert (run["folder"], run["files"]) == ("../rows%20%231/a", ["result.json"])
    assert contents(rows[:1], (), (), {}, tmp_path)["runs"][0]["folder"] is None


def test_the_command_repeats_the_run(rows, tmp_path):
    import dataclasses

    row = dataclasses.replace(rows[0], overrides=["method=svd", "method.layers=[fc1, fc2]"])
    command = contents([row], (), (), {}, tmp_path)["runs"][0]["command"]
    assert command == "python run.py method=svd 'method.layers=[fc1, fc2]'"


def test_a_history_is_kept_by_field_and_thinned_where_a_page_would_be_too_large(rows, tmp_path, monkeypatch):
    from reporting.page import write

    row = next(r for r in rows if len(r.history) == 31)
    whole, thin = (contents([row], (), (), {}, tmp_path, steps)["runs"][0]["history"] for steps in (None, 8))
    assert whole["violation"] == pytest.approx([entry["violation"] for entry in row.history], rel=1e-5)
    assert whole["ranks"]["fc1"] == [entry["ranks"]["fc1"] for entry in row.history]
    assert len(thin["step"]) == 8 and (thin["step"][0], thin["step"][-1]) == (0, 30)
    assert thin["ranks"]["fc1"][-1] == row.history[-1]["ranks"]["fc1"]
    asked = []
    monkeypatch.setattr(write, "contents", lambda *given: asked.append(given[-1]) or contents(*given))
    for limit, steps in ((write.LIMIT, [None]), (1, [None, 20, 8, 3])):
        asked.clear()
        monkeypatch.setattr(write, "LIMIT", limit)
        write_page(tmp_path / "index.html", [row])
        assert asked == steps


def test_a_thousand_runs_take_less_than_three_megabytes(tmp_path):
    write_page(tmp_path / "index.html", many(1000), PUBLISHED)
    assert (tmp_path / "index.html").stat().st_size < 3_000_000


def test_the_same_rows_make_the_same_file_and_nothing_is_loaded_from_elsewhere(rows, tmp_path):
    for name in ("a", "b"):
        write_page(tmp_path / name / "index.html", [*rows[:9], *odd(rows[0])], PUBLISHED)
    text = (tmp_path / "a" / "index.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "b" / "index.html").read_text(encoding="utf-8")
    assert EVIL not in text and text.lower().count("</script>") == 3
    assert "{{" not in text.split("<body>")[0]
    assert "content=\"default-src 'none';" in text
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["index.html"]


def test_no_row_at_all_is_a_page_too(tmp_path):
    assert contents([], (), (), {}, tmp_path)["runs"] == []
    assert math.isfinite(len(json.dumps(contents([], PUBLISHED, (), {}, tmp_path))))
