"""What a configuration takes from the environment is used and not written."""

from __future__ import annotations

import dataclasses
import json

import pytest

from orchestration.config.point import Point
from orchestration.store.owned_files import CONFIG, OwnedFiles
from orchestration.store.point_files import begin_run, row_without_result

SECRET = "s3cret-0123456789abcdef"


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", SECRET)
    monkeypatch.setenv("DATA_ROOT", "/data/of/mine")


def test_a_value_of_the_environment_is_in_no_file(make_point, environment):
    point = make_point("tags=['${oc.env:MY_API_KEY}',paper]", "dataset=image_folder")
    assert point.config["tags"] == [SECRET, "paper"]
    point.directory.mkdir(parents=True)
    begin_run(point, OwnedFiles(point.directory, "0" * 32, lambda: None), keeps_row=False)
    row = json.dumps(dataclasses.asdict(row_without_result(point, "failed: x")))
    text = (point.directory / CONFIG).read_text()
    assert SECRET not in row + text
    assert "<oc.env:MY_API_KEY " in row and "<oc.env:MY_API_KEY " in text
    assert "root: /data/of/mine/images" in text  # a place is no secret, and is compared


def test_a_value_that_is_part_of_the_identity_is_masked_there_and_still_tells_points_apart(
    make_point, environment, monkeypatch
):
    overrides = ("dataset=image_folder", "dataset.name='a ${oc.env:MY_API_KEY}'")
    point = make_point(*overrides)
    assert point.config["dataset"]["name"] == f"a {SECRET}"
    assert SECRET not in json.dumps(point.identity)
    assert SECRET not in json.dumps(point.identifying_overrides)
    monkeypatch.setenv("MY_API_KEY", SECRET[::-1])
    assert make_point(*overrides).id != point.id


def test_a_copy_by_another_interpolation_is_masked_too(make_point, environment):
    point = make_point("dataset=image_folder", "dataset.name='${oc.env:MY_API_KEY}'", "tags=['${dataset.name}']")
    assert point.config["tags"] == [SECRET]
    assert SECRET not in json.dumps(point.written)


def test_a_short_value_is_masked_where_it_is_read_and_nowhere_else(make_point, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    plain, point = make_point("tags=[job]"), make_point("tags=['job-${oc.env:SLURM_ARRAY_TASK_ID}']")
    assert point.id == plain.id, "tags are no part of it"
    assert {key: value for key, value in point.written.items() if key != "tags"} == {
        key: value for key, value in plain.written.items() if key != "tags"
    }
    assert point.written["tags"][0].startswith("job-<oc.env:SLURM_ARRAY_TASK_ID ")


def test_without_secrets_nothing_is_copied_and_a_process_gets_the_masks(make_point, environment):
    plain = make_point()
    assert plain.masks == () and plain.written is plain.config
    point = make_point("tags=['${oc.env:MY_API_KEY}']")
    again = json.loads(json.dumps(dataclasses.asdict(point)))
    assert Point(**again).written == point.written
