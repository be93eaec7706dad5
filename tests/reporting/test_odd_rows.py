"""Rows that no point writes are skipped by name, and whatever is read can be reported."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import random

import pytest

import report
from evaluation.reference_record import read_reference_record
from evaluation.result import read_result
from orchestration.config.departures import departures
from orchestration.config.published import key as key_of
from reporting.flat_table import write_flat_table
from reporting.markup import comma_separated, latex, markdown
from reporting.page.contents import contents
from reporting.pareto import fronts
from reporting.pivot import pivot
from reporting.print_result import print_result
from reporting.rows import read_rows
from reporting.table import comparison
from reporting.tasks import by_task
from reporting.terminal import print_comparison
from reporting.wandb import names
from tests.damage import damaged, text_of, torn
from tests.reporting.sample_rows import make_row

ROW = dataclasses.asdict(make_row())


def changed(**changes):
    """The row with dotted keys set, `compressed__latency_ms={}`."""
    row = json.loads(json.dumps(ROW))
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = row
        for parent in parents:
            node = node[parent]
        node[last] = value
    return row


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (changed(compressed__latency_ms={"1": 0.0, "256": 1.5}), "latency_ms"),
        (changed(compressed__latency_ms={"1": 0.125}), "the same batch sizes of both networks"),
        (changed(compressed__latency_ms={"1": 0.1, "9" * 5000: 1.0}), "expected batch sizes"),
        (changed(compressed__num_params=-1), "num_params"),
        (changed(compressed__test_top1_percent=100.5), "test_top1_percent"),
        (changed(compressed__test_loss=1e308), "finite numbers, got 2e400"),
        (changed(reference__macs=10**400), "64 bits"),
        (changed(seconds=-1.0), "seconds"),
        (changed(config__schedule=None), "config.schedule: expected a mapping, got None"),
        (changed(history=[{"step": 0, "ranks": 3}]), "ranks: expected an int"),
        (changed(history=[{"step": 0, "ranks": {"fc1": "three"}}]), "ranks: expected an int"),
        (changed(history=[3]), "history.0"),
        (changed(layers__fc1={"params": 3}), "KeyError: 'rank'"),
        (changed(layers__fc1={"rank": {}, "reason": None}), "expected a rank"),
        (changed(choices__method=" "), "choices.method"),
        (changed(choices__dataset="a\nb"), "choices.dataset"),
        (changed(choices__network="x" * 101), "choices.network"),
        (changed(id="../../x"), "id: "),
        (changed(status="fine"), "status: expected ok, or diverged"),
        (changed(tags=["\ud800"]), "hex escape"),
    ],
)
def test_an_impossible_value_is_named(tmp_path, row, said):
    (tmp_path / "result.json").write_text(text_of(row))
    with pytest.raises(ValueError, match=r"result\.json: not a readable result") as caught:
        read_result(tmp_path / "result.json")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_the_methods_file_of_a_row_is_looked_for_in_one_folder_only(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluation.name.METHODS", tmp_path / "method")
    (tmp_path / "method").mkdir()
    (tmp_path / "secret.yaml").write_text("[")
    row = make_row(choices={**make_row().choices, "method": "../secret"})
    assert "../secret+svd" in markdown(comparison([row]))


@pytest.mark.parametrize("change", [{"curve": [3]}, {"curve": {}}, {"seconds": "1"}, {"epochs": None}, {"recipe": []}])
def test_the_record_of_a_reference_has_a_schema_too(tmp_path, change):
    record = {"epochs": 2, "seconds": 1.5, "device_type": "cpu", "recipe": {"seed": 0}, "more": 1}
    record["curve"] = [{"epoch": 0, "train_loss": None}]
    path = tmp_path / "reference.json"
    path.write_text(json.dumps(record))
    assert read_reference_record(path).curve == record["curve"]
    path.write_text(json.dumps(record | change))
    with pytest.raises(ValueError, match=r"reference\.json: not the record of a reference"):
        read_reference_record(path)


def report_all(results, places, folder):
    """Everything that reads rows, without what draws: seconds a figure."""
    for form in (markdown, latex, comma_separated):
        form(comparison(results))
    for task, of in by_task(results).items():
        fronts(of, (), task)
    with contextlib.suppress(ValueError):  # who asks for one column a share gets an answer in one line
        pivot(results, "share", "test error [%]")
    json.dumps(contents(results, [], (), places, folder), allow_nan=False)
    write_flat_table(folder, results)
    with contextlib.redirect_stdout(io.StringIO()):
        print_comparison(results)
        for row in results:
            if row.is_ok and row.reference and row.compressed:
                print_result(row, folder)
    for row in results:
        (names.history(row), names.digest(row), names.summary(row), names.layer_table(row), names.arguments_of(row))
        key_of(row.config)
        departures(row.config, ROW["config"])


def test_whatever_is_read_of_damaged_rows_can_be_reported(tmp_path):
    """400 damaged rows, by twos beside a whole one, which stays in the report."""
    num_read = 0
    for seed in range(200):
        draw = random.Random(seed)
        folder = tmp_path / str(seed)
        for number, row in enumerate([ROW, damaged(draw, ROW), damaged(draw, ROW)]):
            if isinstance(row, dict) and row.get("id") == ROW["id"]:
                row = {**row, "id": f"id{number}"}
            text = text_of(row).encode("utf-8", "surrogatepass")
            place = folder / str(number)
            place.mkdir(parents=True)
            (place / "result.json").write_bytes(torn(draw, text) if number and draw.random() < 0.3 else text)
        rows = read_rows([folder])
        assert "id0" in rows.places, seed
        num_read += len(rows.results) - 1
        report_all(rows.results, rows.places, folder)
    assert num_read > 20  # else it tests nothing
    assert len(list(tmp_path.iterdir())) == 200


def test_the_command_skips_odd_files_by_name(tmp_path, capsys, monkeypatch):
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "result.json").write_text(json.dumps(ROW))
    (tmp_path / "folder" / "result.json").mkdir(parents=True)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "result.json").write_text("[" * 100_000)
    (tmp_path / "circle").mkdir()
    (tmp_path / "circle" / "result.json").symlink_to("result.json")  # leads to no file
    monkeypatch.setattr("sys.argv", ["report.py", str(tmp_path), "--markdown"])
    report.main()
    out, err = capsys.readouterr()
    assert "lc_svd" in out
    assert err.count("skipped: ") == 2
    assert "Traceback" not in err
