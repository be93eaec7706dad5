"""Every metric of conf/metric in methods that have a decomposition, from the configuration to the row."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from decompositions.core.fallback import FormatWithFallback
from decompositions.svd import SVD
from evaluation.result import read_result
from lightning_modules.core.dry_run import require_served
from orchestration.errors import ConfigError
from orchestration.run.build import build_components
from orchestration.run.run_point import run_point
from tests.conftest import ROOT

METRICS = sorted(path.stem for path in (ROOT / "conf" / "metric").glob("*.yaml"))
METHODS = ("svd", "cur", "interpolative", "tt_svd", "cp", "tucker_vbmf", "lc_svd", "lc_cur", "alternating_tucker",
           "admm_tt", "musco", "tt")  # fmt: skip
FAST = ("network.hidden=[20,16]", "schedule.fine_tune.epochs=3")
NORM = ("network._target_=tests.lightning_modules.test_metrics.with_a_norm",)
pytestmark = pytest.mark.usefixtures("share_references")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("method", ["svd", "lc_svd"])
def test_a_metric_runs_and_the_row_says_how_it_was_measured(make_point, metric, method):
    norm = NORM if metric == "batch_norm" else ()
    point = make_point(f"method={method}", f"metric={metric}", *FAST, *norm, "seed=4", "schedule.batch_size=100")
    if (metric, method) == ("layer", "lc_svd"):
        with pytest.raises(ConfigError, match="layer is one weight for a whole layer"):
            build_components(point)
        return
    result = run_point(point)
    assert result.status == "ok", result.status
    assert read_result(point.directory / "result.json") == result
    assert result.choices["metric"] == metric
    if method == "svd":
        tuned_not_at_all = run_point(dataclasses.replace(point, config=untuned_config(point))).compressed
        assert result.compressed.untuned_test_top1_percent == tuned_not_at_all.test_top1_percent
        assert result.compressed.untuned_validation_top1_percent == tuned_not_at_all.validation_top1_percent
    if metric == "identity":
        assert result.calibration is None
        assert "metric" not in result.config
        assert "metric" not in result.config["method"]
        return
    about = result.calibration
    assert (about["part"], about["seed"]) == ("training", 4)
    assert about["num_samples"] == (100 if metric == "batch_norm" else 1167)
    assert about["seconds"] > 0
    assert result.config["metric"]["_name_"] == metric
    sides = {"fc1": [64], "fc2": [20], "fc3": [16]}
    assert about["inputs"] == ({"1": []} if metric == "batch_norm" else sides)


def untuned_config(point) -> dict:
    """The same without fine-tuning."""
    schedule = point.config["schedule"]
    return point.config | {"schedule": schedule | {"fine_tune": schedule["fine_tune"] | {"epochs": 0}}}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_one(make_point, method):
    """And another result follows: no method accepts a metric and ignores it."""
    rows = []
    for metric in ("identity", "kfac"):
        result = run_point(make_point(f"method={method}", f"metric={metric}", "method.normalize=true", *FAST))
        assert result.status == "ok", result.status
        rows.append((result.compressed.test_loss, result.rank_reason))
    assert rows[0] != rows[1]


OPTIONS = ("metric.num_samples=64", "metric.shrinkage=0.5", "metric.rtol=0.3", "metric.max_side=63")


@pytest.mark.parametrize("change", OPTIONS)
def test_options_of_a_metric_are_read(make_point, change):
    method = "tt_svd" if "rtol" in change else "svd"  # SVD inverts no moment of inputs
    base = (f"method={method}", "metric=gram", "rank=fixed", "rank.ranks=3", "schedule.fine_tune.epochs=0", *FAST[:1])
    shape = ("network._target_=tests.lightning_modules.test_metrics.with_a_map",) if "max_side" in change else ()
    losses = [run_point(make_point(*base, *shape, *more)).compressed.test_loss for more in ((), (change,))]
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    "change", ["method.correct_bias=true", "method.reestimate_norms=true", "method.target=outputs"]
)
def test_repairs_are_read(make_point, change):
    base = ("method=svd", "rank=fixed", "rank.ranks=3", "schedule.fine_tune.epochs=0", *NORM, *FAST[:1])
    losses = [run_point(make_point(*base, *more)).compressed.test_loss for more in ((), (change,))]
    assert losses[0] != losses[1]


def test_a_metric_that_is_measured_once_is_that_of_the_reference(make_point):
    base = ("method=lc_svd", "metric=gram", "rank=fixed", "rank.ranks=3", *FAST)
    histories = [run_point(make_point(*base, f"method.measure_metric={w}")).history for w in ("once", "every_step")]
    violations = [[entry["violation"] for entry in history] for history in histories]
    assert violations[0][0] == violations[1][0]
    assert violations[0][1:] != violations[1][1:]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("method=prune", "metric=gram"), "metric: method prune has no use for one; leave it out"),
        (("method=svd", "metric=gram", "metric.shrinkage=2"), r"metric.shrinkage: expected float >= 0, <= 1, got 2"),
        (("method=svd", "metric=gram", "metric.max_side=7"), r"layer fc1 has 64 inputs, more than max_side=7"),
        (("method=svd", "method.target=outputs", "method.correct_bias=true"), "target=outputs corrects biases itself"),
        (("method=svd", "metric=covariance", "method.correct_bias=true"), "metric=covariance corrects biases itself"),
        (("method=svd", "method.reestimate_norms=true"), "reestimate_norms: the network has no batch norms"),
        (("method=svd", "metric=batch_norm"), r"metric BatchNorm: found nothing to measure at layers"),
        (("method=lc_svd", "method.measure_metric=once"), "measure_metric: metric=identity is not measured"),
        (("method=tt", "metric=gram", "rank=fixed", "rank.ranks=2"), "metric: Gram would choose the ranks"),
        (("method=svd", "metric=gram", "rank=fixed", "rank.ranks=2", "method.target=outputs"), "Gram would choose"),
        (("method=svd", "metric={_target_: decompositions.svd.SVD}"), "metric: expected a Metric, got SVD"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_trains(make_point, overrides, said):
    with pytest.raises(ConfigError, match=said):
        build_components(make_point(*FAST, *overrides))


@pytest.mark.parametrize("metric", METRICS)
def test_what_compares_layers_is_said_alike_in_python_and_in_yaml(make_point, metric):
    point = make_point("method=svd", f"metric={metric}", *FAST[:1], *(NORM if metric == "batch_norm" else ()))
    compares = getattr(build_components(point).method.metric, "compares_layers", False)
    assert point.config["method"]["normalize"] is not compares
    assert compares is (metric in ("kfac", "layer"))


def test_repairs_read_as_many_samples_as_without_a_metric(make_point):
    base = ("method=svd", "method.correct_bias=true", "schedule.fine_tune.epochs=0", *NORM, *FAST[:1])
    rows = [run_point(make_point(*base, f"metric={metric}")) for metric in ("identity", "batch_norm")]
    assert [row.calibration["num_samples"] for row in rows] == [1167, 1167]
    assert rows[0].calibration["inputs"] == {}


def test_a_format_that_serves_no_metric_is_refused_before_anything_trains():
    class Own(FormatWithFallback):
        def fallback(self, weight):
            return None

        _analyse = _count = _zeros = _layer = lambda self, *_: None

    with pytest.raises(ValueError, match="format Own serves the metric identity alone"):
        require_served(Own(), torch.ones(3, 2))
    require_served(SVD(), torch.ones(3, 2))


def test_a_metric_and_no_other_key_makes_another_point(make_point):
    identity, gram, more = (
        make_point("method=svd", *extra) for extra in ((), ("metric=gram",), ("metric=gram", "metric.num_samples=5"))
    )
    assert identity.id == make_point("method=svd", "metric=identity").id
    assert len({identity.id, gram.id, more.id}) == 3


def with_a_map(input_shape, num_classes, hidden, activation):
    """A network whose first layer gets a feature map that was flattened: 4 channels of 16 positions."""
    from torch import nn

    return nn.Sequential(
        nn.Flatten(), nn.Unflatten(1, (4, 16)), nn.Flatten(),
        nn.Linear(64, hidden[0]), nn.ReLU(), nn.Linear(hidden[0], num_classes),
    )  # fmt: skip


def with_a_norm(input_shape, num_classes, hidden, activation):
    """A network with a batch norm behind its first layer."""
    from torch import nn

    layers = [nn.Flatten(), nn.Linear(64, hidden[0]), nn.BatchNorm1d(hidden[0]), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden[0], num_classes))
