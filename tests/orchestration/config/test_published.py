"""Every published row composes, under both schedules, says where its number is from, and its method really runs."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from evaluation.reported import Reported, verdict
from orchestration.config import departures
from orchestration.config.error_messages import error_lines
from orchestration.config.point import Point
from orchestration.config.published import described, experiments, key, names
from orchestration.errors import ConfigError
from orchestration.run.run_point import run_point
from tests.conftest import ROOT

FOLDER = ROOT / "conf" / "experiment"
SHARED = sorted((ROOT / "conf" / "paper").glob("*.yaml"))
NUMBERS = ("top1_percent", "top5_percent", "num_params", "macs", "params_ratio", "macs_ratio")
# What makes a run of a row small enough for a test: real digits instead of the row's data.
MINIATURE = (
    "dataset=digits", "schedule=short", "logger=none", "schedule.reference.epochs=1", "schedule.l_step.epochs=1",
    "schedule.fine_tune.epochs=1", "schedule.from_scratch.epochs=1", "schedule.penalty.num_steps=1",
)  # fmt: skip


# A row of every method that rows have, on a network small enough; a test sees that none is forgotten.
ONE_OF_EACH_METHOD = {
    "admm_tt": "yin21/resnet32_admm_tt",
    "admm_tucker": "yin21/resnet32_admm_tucker",
    "direct": "yin21/resnet50_tucker",
    "lc_svd": "ic20/lenet300_lc_svd",
    "reference": "ic20/lenet300_reference",
    "svd": "alds/resnet20_svd",
    "tt": "tt_rnn/mlp1024_tt_rank3",
}


@pytest.fixture(scope="module")
def composed():
    """The configurations that Hydra composes in `found`, by the overrides."""
    return {}


@pytest.fixture(scope="module")
def found(composed):
    def keep(name, overrides, **options):
        composed[tuple(overrides)] = config = compose(name, overrides, **options)
        return config

    departures.settings_of.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(departures, "compose", keep)
        return {experiment.name: experiment for experiment in experiments()}


def test_there_are_rows_and_no_name_is_lost(found):
    papers = Counter(name.partition("/")[0] for name in found)
    assert papers == {
        "akamaster": 4, "alds": 4, "garipov16": 12, "ic20": 56, "tensor_l0": 1, "trp": 2, "tt_rnn": 2, "ucf11": 2,
        "yin21": 9,
    }  # fmt: skip
    assert {experiment.choices["method"] for experiment in found.values()} == set(ONE_OF_EACH_METHOD)
    for method, name in ONE_OF_EACH_METHOD.items():
        assert found[name].choices["method"] == method


@pytest.mark.parametrize("name", names())
def test_file_says_source_command_and_number(name):
    path = FOLDER / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[0] == "# @package _global_"
    assert f"python run.py -m experiment={name} seed=0,1,2" in lines[2]
    choices, reported = described(path)
    assert {"dataset", "network", "method", "schedule"} <= set(choices)
    assert {"source", "place", "provenance", "cost", "tolerance_points", "differs"} <= set(reported)
    numbers = ("top1_percent", "num_params", "macs", "params_ratio", "macs_ratio")
    assert any(reported.get(number) is not None for number in numbers)


@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_what_rows_share_has_no_number_and_is_no_row(path, make_point):
    """A row that forgets its number must not get another's; what is asked for in place of a row is refused."""
    assert path.read_text(encoding="utf-8").startswith("# @package _global_\n")
    assert not set(described(path)[1]) & set(NUMBERS)
    with pytest.raises(ConfigError, match=r"reported: .* must be given"):
        make_point(f"+paper={path.stem}", tiny=False)
    with pytest.raises(MissingConfigException):
        make_point(f"experiment={path.stem}")


def test_rows_are_read_as_hydra_composes_them(found, composed):
    """`described` follows the defaults lists by itself."""
    for name in found:
        config = composed[f"experiment={name}", "schedule=published"]
        choices, reported = described(FOLDER / f"{name}.yaml")
        assert {group: config.hydra.runtime.choices[group] for group in choices} == choices, name
        of_hydra = OmegaConf.to_container(config.reported, resolve=True)
        assert {k: v for k, v in of_hydra.items() if k != "_target_"} == reported, name


def test_schedules_are_different_points_and_rows_are_told_apart(found):
    for experiment in found.values():
        assert experiment.keys["published"] != experiment.keys["short"], experiment.name
    # Several sources report the same reference network, and nothing else is the same point.
    by_key: dict[str, list[str]] = {}
    for experiment in found.values():
        by_key.setdefault(experiment.keys["published"], []).append(experiment.name)
    shared = [group for group in by_key.values() if len(group) > 1]
    assert all(name.endswith("_reference") for group in shared for name in group), shared


# [IC20], by what rows begin with: the lambdas of the rows a, b, …, in 1e-9 a MAC, and the number of L steps.
# Sources: the loops of run_resnets.sh, run_vggs.sh and run_nin.sh in the authors' repository (of NIN's 18 these are
# number 1, 2, 3, 5, 7, 10 and 13); the README on AlexNet, which counts million MACs: its 0.05e-4 is 0.005e-9 a MAC.
RESNET = ((1, 2, 4, 8, 16, 32), 49)
LAMBDAS = {
    "resnet20_lc_svd": RESNET,
    "resnet32_lc_svd": RESNET,
    "resnet56_lc_svd": RESNET,
    "resnet110_lc_svd": RESNET,
    "vgg16_lc_svd": ((0.05, 0.075, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8), 59),
    "nin_lc_svd": ((0.025, 0.05, 0.075, 0.15, 0.25, 0.5, 0.9), 59),
    "alexnet_lc_svd_scheme1": ((0.005, 0.015, 0.02), 20),
    "alexnet_lc_svd_scheme2": ((0.005, 0.01, 0.015, 0.02, 0.025), 20),
}


@pytest.mark.parametrize("start", LAMBDAS)
def test_lambdas_and_numbers_of_steps_of_ic20(composed, found, start):
    """Of 50 and 60 steps that their scripts list the first has no L step; AlexNet's schedule is ours."""
    lambdas, num_steps = LAMBDAS[start]
    rows = sorted(name for name in found if name.startswith(f"ic20/{start}_"))
    configs = [composed[f"experiment={name}", "schedule=published"] for name in rows]
    assert [1e9 * config.rank.weight for config in configs] == pytest.approx(lambdas)
    for config in configs:
        assert (config.rank.of, config.rank.relative, config.method.min_rank) == ("macs", False, 0)
        assert config.schedule.penalty.num_steps == num_steps


def test_every_row_of_ic20_with_a_lambda_is_looked_at(found):
    """The toolkit's LeNet300 has one of its own."""
    rows = [name for name in found if name.startswith("ic20/") and "_lc_svd" in name]
    assert len(rows) == sum(len(lambdas) for lambdas, _ in LAMBDAS.values()) + 1


def test_weight_decay_of_vgg16(composed, found):
    """[IC20] adds 5e-4 ‖W‖², whose gradient is twice that."""
    vgg16 = composed["experiment=ic20/vgg16_lc_svd_a", "schedule=published"].schedule
    assert {vgg16[phase].weight_decay for phase in ("reference", "l_step", "fine_tune")} == {1e-3}


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("resnet32_admm_tt", {1: 0.1, 55: 0.1, 56: 0.02, 111: 0.004, 166: 0.0008, 200: 0.0008}),
        ("resnet18_admm_tt", {1: 0.01, 40: 0.01, 41: 1e-3, 81: 1e-4, 121: 1e-5, 150: 1e-5}),
        ("resnet18_admm_tucker", {1: 0.01, 71: 0.005}),
    ],
)
def test_rates_over_the_epochs_of_admm(found, composed, name, rates):
    """[YSLY21]'s README: one optimiser over all epochs, whose rate falls at 55, 110, 165 of 200; 40, 80, 120 of 150."""
    schedule = instantiate(composed[f"experiment=yin21/{name}", "schedule=published"].schedule)
    assert (schedule.keep_momentum, schedule.l_step.epochs, schedule.penalty.growth) == (True, 1, 1.0)
    found_rates = {epoch: schedule.l_step.learning_rate * schedule.l_step_factor(epoch) for epoch in rates}
    assert found_rates == pytest.approx(rates)


@pytest.mark.parametrize(
    ("name", "epochs", "steps", "factor"),
    [
        ("resnet32_admm_tucker", 200, [55, 110, 165], 0.4),
        ("resnet18_admm_tt", 105, [30, 60, 90], 0.2),
        ("resnet18_admm_tucker", 105, [30, 60, 90], 0.1),
    ],
)
def test_rates_over_the_epochs_of_fine_tuning_after_admm(found, composed, name, epochs, steps, factor):
    phase = instantiate(composed[f"experiment=yin21/{name}", "schedule=published"].schedule).fine_tune
    rates = [phase.decay(epoch / epochs) for epoch in range(epochs)]
    assert phase.epochs == epochs
    assert rates == pytest.approx([factor ** sum(epoch >= step for step in steps) for epoch in range(epochs)])


@pytest.mark.parametrize("line", ["schedule: {epochs: 3}", "rank: {wieght: 1}", "reported: {toleranz: 1}"])
def test_a_typo_in_an_experiment_is_refused(tmp_path, line):
    """Hydra takes unknown keys of such a file in silence."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    content = yaml.safe_load((FOLDER / "ic20" / "lenet300_lc_svd.yaml").read_text(encoding="utf-8"))
    key, value = line.split(": ", 1)
    content[key] = {**content.get(key, {}), **yaml.safe_load(value)}
    broken = tmp_path / "conf" / "experiment" / "ic20" / "broken.yaml"
    broken.write_text("# @package _global_\n" + yaml.safe_dump(content), encoding="utf-8")
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        config = compose("config", ["experiment=ic20/broken"], return_hydra_config=True)
        with pytest.raises(ConfigError, match="unknown key"):
            Point.from_hydra(config, config.hydra)


def test_a_row_is_known_wherever_it_ran(make_point, found):
    """On another device and with another seed, but not with another option."""
    wanted = found["tt_rnn/mlp1024_tt_rank3"].keys["short"]

    def key_of(*overrides):
        point = make_point("experiment=tt_rnn/mlp1024_tt_rank3", "schedule=short", *overrides, tiny=False)
        return key(point.identity)

    assert key_of("seed=2", "trainer=gpu", "latency_batch_size=64", "logger=none") == wanted
    for other in ("rank.ranks=4", "trainer.limit_batches=2", "trainer.accumulate=8"):
        assert key_of(other) != wanted, other


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("nope", "known: akamaster, alds"), ("ic20/lenet300_lc_sv", "did you mean 'ic20/lenet300_lc_svd'"),
     ("trp", "known: trp/resnet20_reference")],
)  # fmt: skip
def test_an_unknown_row_says_which_there_are(make_point, wanted, said):
    with pytest.raises(MissingConfigException) as caught:
        make_point(f"experiment={wanted}")
    assert said in error_lines(caught.value)[0]


def test_the_command_line_beats_the_file(make_point):
    point = make_point("experiment=ic20/resnet20_lc_svd_c", "schedule=short", "rank.weight=5", tiny=False)
    assert point.choices["schedule"] == "short"
    assert point.config["schedule"]["scale"] == 0.1
    assert point.config["rank"]["weight"] == 5


@pytest.mark.parametrize("method", ONE_OF_EACH_METHOD)
def test_a_row_runs_in_miniature(make_point, method):
    extra = []
    if method == "tt":  # an MNIST of 1024 pixels; the digits have 64
        extra = ["~dataset.padding", "+decomposition.modes.64=[4,4,2,2]"]
    if method == "direct":  # a network for ImageNet
        extra = ["network=resnet20", "~network.weights", "method.layers=['stage2.*']", "rank.ranks=4"]
    point = make_point(f"experiment={ONE_OF_EACH_METHOD[method]}", *MINIATURE, *extra, tiny=False)
    assert point.choices["method"] == method
    result = run_point(point)
    assert result.status == "ok", result.status
    assert result.reported["top1_percent"] > 70
    if method == "admm_tucker":
        assert result.layers["stage1.0.conv1"]["reason"] == "rank (16, 16) is not smaller"
        assert result.layers["stage3.1.conv2"]["rank"] == [25, 23]
        assert 2.8 < result.reference.num_params / result.compressed.num_params < 3.2
    if method == "admm_tt":
        assert result.layers["stage2.0.conv1"]["reason"] == "rank (8, 32, 16, 4) is not smaller"
        assert result.layers["stage3.0.conv1"]["rank"] == [8, 40, 24, 8]
        assert result.layers["stage3.4.conv2"]["rank"] == [8, 15, 15, 8]
        assert result.layers["stage2.1.conv1"]["rank"] == [8, 16, 16, 8]
        assert 2.8 < result.reference.num_params / result.compressed.num_params < 3.0
    if method == "lc_svd":  # μ is 0 in the first C step, which leaves rank 0
        assert [entry["penalty"] for entry in result.history] == [0.0, 1e-3]
        assert set(result.history[0]["ranks"].values()) == {0}


def reported(**changes) -> Reported:
    return Reported(
        **{"source": "s", "place": "p", "provenance": "read", "cost": "c", "tolerance_points": 0.3,
           "top1_percent": 90.0, **changes}
    )  # fmt: skip


def rows(make_point, count, percent):
    """Rows as `run_point` leaves them, with the accuracy put in."""
    made = run_point(make_point("method=reference", "network.hidden=[8]"))
    compressed = dataclasses.replace(made.compressed, test_top1_percent=percent)
    return [dataclasses.replace(made, compressed=compressed)] * count


def test_verdicts(make_point):
    ok = rows(make_point, 3, 89.71)
    num_params = ok[0].compressed.num_params
    assert verdict(reported(), []) == "not run"
    assert verdict(reported(), ok[:2]) == "too few seeds (2)"
    assert verdict(reported(), ok) == "reproduced"
    assert verdict(reported(tolerance_points=0.2), ok) == "not reproduced: accuracy"
    assert verdict(reported(), rows(make_point, 3, 95.0)) == "reproduced"
    diverged = dataclasses.replace(ok[0], status="diverged: nan", compressed=None)
    assert verdict(reported(), [*ok, diverged]) == "1 of 4 runs failed"
    assert verdict(reported(num_params=num_params / 1.05), ok) == "reproduced", "within a tenth"
    assert verdict(reported(num_params=num_params * 3.0), ok) == "reproduced", "smaller is better"
    assert verdict(reported(num_params=num_params / 3), ok) == "not reproduced: num_params"
    assert verdict(reported(params_ratio=3.0), ok) == "not reproduced: params_ratio", "nothing was compressed"
    assert verdict(reported(macs_ratio=1.05), ok) == "reproduced"
