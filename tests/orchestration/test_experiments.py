"""Every published row composes, under both schedules, says where its number is from, and its method really runs."""

from __future__ import annotations

import re

import pytest
import yaml
from conftest import ROOT

from evaluation.reported import Reported, reported_row, verdict
from orchestration.experiments import experiments, names
from orchestration.job import run_point
from orchestration.schema import ConfigError

FOLDER = ROOT / "conf" / "experiment"
# What makes a run of a row small enough for a test: real digits instead of the row's data.
MINIATURE = (
    "dataset=digits", "schedule=short", "logger=none", "schedule.reference.epochs=1", "schedule.l_step.epochs=1",
    "schedule.fine_tune.epochs=1", "schedule.from_scratch.epochs=1", "schedule.penalty.num_steps=1",
)  # fmt: skip
ONE_OF_EACH_METHOD = {
    "reference": "ic20/resnet20_reference", "lc_svd": "ic20/resnet20_lc_svd_d", "svd": "alds/resnet20_svd",
    "admm_tucker": "yin21/resnet32_admm_tucker", "admm_tt": "yin21/resnet32_admm_tt", "tt": "tt_rnn/mlp1024_tt_rank3",
}  # fmt: skip


@pytest.fixture(scope="module")
def found():
    return {experiment.name: experiment for experiment in experiments()}


def test_there_are_rows_and_no_name_is_lost(found):
    assert len(found) >= 40
    assert list(found) == names() == sorted(found)


@pytest.mark.parametrize("name", names())
def test_file_says_source_command_and_number(name):
    path = FOLDER / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[0] == "# @package _global_"
    assert f"python run.py -m experiment={name} seed=0,1,2" in lines[2]
    content = yaml.safe_load(text)
    overridden = [next(iter(entry)) for entry in content["defaults"]]
    assert {"override /dataset", "override /network", "override /method", "override /schedule"} <= set(overridden)
    reported = content["reported"]
    assert {"source", "place", "provenance", "cost", "tolerance_points", "differs"} <= set(reported)
    assert reported.get("top1_percent") is not None


def test_schedules_are_different_points_and_rows_are_told_apart(found):
    for experiment in found.values():
        assert experiment.variants["published"] != experiment.variants["short"], experiment.name
    # Several sources report the same reference network, and nothing else is the same point.
    by_variant: dict[str, list[str]] = {}
    for experiment in found.values():
        by_variant.setdefault(experiment.variants["published"], []).append(experiment.name)
    shared = [group for group in by_variant.values() if len(group) > 1]
    assert all(name.endswith("_reference") for group in shared for name in group), shared


@pytest.mark.parametrize("line", ["schedule: {epochs: 3}", "rank: {wieght: 1}", "reported: {toleranz: 1}"])
def test_a_typo_in_an_experiment_is_refused(make_point, tmp_path, line):
    """Hydra takes unknown keys of such a file in silence."""
    text = (FOLDER / "ic20" / "lenet300_lc_svd.yaml").read_text(encoding="utf-8")
    key, value = line.split(": ", 1)
    content = yaml.safe_load(text)
    content[key] = {**content.get(key, {}), **yaml.safe_load(value)}
    broken = FOLDER / "ic20" / "broken_for_a_test.yaml"
    broken.write_text("# @package _global_\n" + yaml.safe_dump(content), encoding="utf-8")
    try:
        with pytest.raises(ConfigError, match="unknown key"):
            make_point("experiment=ic20/broken_for_a_test", tiny=False)
    finally:
        broken.unlink()


def test_the_command_line_beats_the_file(make_point):
    point = make_point("experiment=ic20/resnet20_lc_svd_c", "schedule=short", "rank.weight=5", tiny=False)
    assert point.choices["schedule"] == "short"
    assert point.config["schedule"]["scale"] == 0.1
    assert point.config["rank"]["weight"] == 5


def test_every_method_of_the_rows_is_run_below(found):
    assert {experiment.choices["method"] for experiment in found.values()} == set(ONE_OF_EACH_METHOD)


@pytest.mark.parametrize("method", ONE_OF_EACH_METHOD)
def test_a_row_runs_in_miniature(make_point, method):
    extra = []
    if method == "tt":  # an MNIST of 1024 pixels; the digits have 64
        extra = ["~dataset.padding", "+decomposition.modes.64=[4,4,2,2]"]
    point = make_point(f"experiment={ONE_OF_EACH_METHOD[method]}", *MINIATURE, *extra, tiny=False)
    assert point.choices["method"] == method
    result = run_point(point)
    assert result.status == "ok", result.status
    assert result.reported["top1_percent"] > 80
    if method == "admm_tucker":
        assert result.layers["stage1.0.conv1"]["reason"] == "not selected by layers"
        assert result.layers["stage3.1.conv2"]["rank"] == [25, 23]
        assert 2.8 < result.reference.num_params / result.compressed.num_params < 3.2
    if method == "admm_tt":
        assert result.layers["stage2.1.conv1"]["rank"] == [8, 16, 16, 4]


def reported(**changes) -> Reported:
    return Reported(
        **{"source": "s", "place": "p", "provenance": "read", "cost": "c", "tolerance_points": 0.3,
           "top1_percent": 90.0, **changes}
    )  # fmt: skip


def rows(make_point, count, percent):
    """Rows as `run_point` leaves them, with the accuracy put in."""
    import dataclasses

    made = run_point(make_point("method=reference", "network.hidden=[8]"))
    compressed = dataclasses.replace(made.compressed, test_top1_percent=percent)
    return [dataclasses.replace(made, compressed=compressed)] * count


def test_verdicts(make_point):
    ok = rows(make_point, 3, 89.71)
    assert verdict(reported(), []) == "not run"
    assert verdict(reported(), ok[:2]) == "too few seeds (2)"
    assert verdict(reported(), ok) == "reproduced"
    assert verdict(reported(tolerance_points=0.2), ok) == "not reproduced"
    assert verdict(reported(), rows(make_point, 3, 95.0)) == "reproduced"
    line = reported_row("a/b", reported(reconstruction=True, params_ratio=3.0), [], ok)
    assert line[0] == "a/b (reconstruction)"
    assert line[3] == "–" and re.match(r"89\.71", line[4])
    assert line[-1] == "not run", "a short schedule decides nothing"
