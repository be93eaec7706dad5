"""Rows on disk, and the names of experiments."""

from __future__ import annotations

import dataclasses
import json
import math
import os

import pytest

from evaluation.name import experiment_name
from evaluation.result import read_result, write_json, write_result
from tests.made_rows import measure, result


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": 5}, "status: "),
        ({"seed": None}, "seed: "),
        ({"choices": 3}, "choices: "),
        ({"reference": [1]}, "AttributeError"),
        ({"compressed": {"macs": "many"}}, "compressed."),
        ({"history": "x"}, "history: "),
        ({"choices": {"network": "mlp"}}, "choices without dataset, method"),
        ({"compressed": dataclasses.asdict(measure(latency_ms={}))}, "latency_ms: expected batch sizes, got []"),
        ({"reference": dataclasses.asdict(measure(peak_memory_mib={"all": 1.0}))}, "got ['all']"),
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
    with pytest.raises(ValueError, match="expected a plain file, got a folder"):
        read_result(tmp_path / "result.json")


def test_a_row_may_be_read_by_whom_the_user_allows(tmp_path):
    mask = os.umask(0o027)
    try:
        write_result(tmp_path / "result.json", result())
    finally:
        os.umask(mask)
    assert (tmp_path / "result.json").stat().st_mode & 0o777 == 0o640
