"""Names of rows in Weights & Biases."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from evaluation.result import read_result, write_result
from reporting.wandb import names
from tests.reporting.sample_rows import make_row


def test_the_summary_is_the_row_as_it_stands_on_disk(tmp_path):
    result = make_row()
    broken = dataclasses.replace(result, compressed=dataclasses.replace(result.compressed, test_loss=math.nan))
    write_result(tmp_path / "result.json", broken)
    on_disk = json.loads((tmp_path / "result.json").read_text())
    summary = names.summary(broken)
    digest = summary.pop("row")
    assert summary == {key: on_disk[key] for key in summary}
    wanted = {"status", "started", "seconds", "reference", "compressed", "rank_reason", "violation", "calibration"}
    wanted |= {"network_digest"}
    assert set(summary) == wanted
    assert summary["compressed"]["test_loss"] is None
    assert digest == names.digest(read_result(tmp_path / "result.json")), "a live run and its file agree"


def test_the_digest_tells_rows_apart_and_outlives_the_schema():
    result = make_row()
    assert names.digest(result) == names.digest(dataclasses.replace(result, schema_version="1.9"))
    assert names.digest(result) != names.digest(dataclasses.replace(result, seconds=2.0))

    @dataclasses.dataclass(frozen=True)
    class Newer(type(result)):
        extra: dict = dataclasses.field(default_factory=dict)

    newer = Newer(**{f.name: getattr(result, f.name) for f in dataclasses.fields(result)})
    assert names.digest(newer) == names.digest(result)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            {"step": 0, "penalty": 0.1, "train_loss": None, "ranks": {"a": 3, "b": None}},
            ["joint/step", "joint/penalty", "rank/a"],
        ),
        (
            {"step": 0, "violation": 0.1, "ranks": {"a": [3, 2]}},
            ["gradual/step", "gradual/violation", "rank/a/0", "rank/a/1"],
        ),
    ],
)
def test_history_has_the_names_of_training(entry, expected):
    (line,) = names.history(dataclasses.replace(make_row(), history=[entry]))
    assert list(line) == expected


def test_layers_as_a_table():
    columns, lines = names.layer_table(make_row())
    assert columns == ["layer", "rank", "params", "macs", "reason", "form"]
    assert lines == [["fc1", "[3, 2]", 30, 20, None, None], ["fc2", None, 10, 9, "small", "merged"]]
