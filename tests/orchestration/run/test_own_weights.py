"""Weights of one's own start any network, with their own normalisation; what has changed is not taken for done."""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import save_file

from datamodules.memory.digits import Digits
from decompositions import load_network
from evaluation.accuracy import Accuracy
from orchestration.errors import ConfigError
from orchestration.run.run_point import run_point
from orchestration.run.start import Start
from orchestration.store.status import read_status

LINEAR = ["network=mlp", "network.hidden=[]", "method=reference", "schedule.reference.epochs=0"]
RAW = "dataset.normalisation=none"
CODE = """
import torch
from torch import nn


def build(input_shape, num_classes, start=None):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
    if start is not None:
        network.load_state_dict(torch.load(start))
    return network


def fixed(input_shape, num_classes):
    return build(input_shape, num_classes, {path!r})


class Scaled(nn.Sequential):
    scale = 1.0

    def forward(self, x):
        return super().forward(x * self.scale)


def scaled(input_shape, num_classes, start=None):
    network = Scaled(nn.Flatten(), nn.Linear(64, num_classes))
    network.scale = 1.0 if start is None else 3.0
    return network
"""


@pytest.fixture(scope="module")
def digits() -> Digits:
    data = Digits()
    data.setup()
    return data


@pytest.fixture(scope="module")
def state(digits) -> dict[str, torch.Tensor]:
    """Nearest class means on pixels of 0 to 1, as a linear layer: `2 m·x − |m|²`."""
    x, y = digits.train.images.flatten(1) / 16, digits.train.labels
    means = torch.stack([x[y == label].mean(0) for label in range(10)])
    return {"weight": 2 * means, "bias": -means.square().sum(1)}


def named(state, layer):
    return {f"{layer}.{name}": tensor for name, tensor in state.items()}


def accuracy_on(part, network) -> float:
    return float((network(part.images / 16).argmax(1) == part.labels).float().mean() * 100)


@pytest.fixture
def weights(state, tmp_path):
    torch.save(named(state, "fc1"), tmp_path / "w.pt")
    return tmp_path / "w.pt"


@pytest.fixture
def own_code(state, tmp_path, monkeypatch):
    """A module of the user's, a file of weights that it reads, and the file's path."""
    path = tmp_path / "start.pt"
    torch.save(named(state, "1"), path)
    (tmp_path / "my_own_networks.py").write_text(CODE.replace("{path!r}", repr(str(path))))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield path
    sys.modules.pop("my_own_networks", None)


def custom(name, *more):
    return ["network=custom", f"network.target=my_own_networks.{name}", *LINEAR[2:], *more]


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("kind", ["mlp", "custom"])
def test_weights_with_their_normalisation_are_the_reference_as_they_are(
    make_point, digits, state, own_code, tmp_path, ending, kind
):
    path, layer = tmp_path / f"w.{ending}", "fc1" if kind == "mlp" else "1"
    content = named(state, layer)
    save_file(content, path) if ending == "safetensors" else torch.save(content, path)
    chosen = LINEAR if kind == "mlp" else custom("build")
    point = make_point(*chosen, f"network.weights={path}", RAW, "network.expected_top1=90")
    result = run_point(point)
    assert result.status == "ok", result.status
    assert result.signature["normalisation"] == "none"
    linear = torch.nn.functional.linear
    logits = linear(digits.test.images.flatten(1) / 16, state["weight"], state["bias"])
    expected = float((logits.argmax(1) == digits.test.labels).float().mean() * 100)
    assert result.reference.test_top1_percent == pytest.approx(expected) and expected > 85
    path.unlink()
    (tmp_path / "start.pt").unlink()
    network = load_network(point.directory / "network.pt", trust=["my_own_networks"], with_preprocessing=True)
    assert accuracy_on(digits.test, network) == pytest.approx(expected)


def test_other_preprocessing_is_refused_by_what_is_expected(make_point, weights):
    start = [*LINEAR, f"network.weights={weights}"]
    other = "dataset.std=[4.0]"
    good, bad = run_point(make_point(*start, RAW)), run_point(make_point(*start, other))
    assert bad.status == "ok" and bad.signature["normalisation"] == "std 4"
    known = good.reference.validation_top1_percent
    assert bad.reference.validation_top1_percent < known - 10
    expected = f"network.expected_top1={known:.2f}"
    refused = run_point(make_point(*start, other, expected))
    assert refused.status.startswith(f"failed: network.expected_top1: expected {float(f'{known:.2f}'):g} %")
    assert f"got {bad.reference.validation_top1_percent:.2f} %" in refused.status
    assert "dataset.mean and dataset.std" in refused.status and "\n" not in refused.status
    assert run_point(make_point(*start, RAW, expected)).status == "ok"


@pytest.mark.parametrize(
    ("got", "num_samples", "is_refused"),
    [(98.9, 10**6, False), (98.7, 10**6, True), (98.0, 180, False), (97.5, 180, True), (float("nan"), 180, True)],
)
def test_far_is_more_than_a_point_and_than_chance(got, num_samples, is_refused):
    """By hand: of 180 samples at 99.8 % three standard errors, of (179.64 + 1) / 182, are 1.9 points."""
    start = Start(expected_top1=99.8)
    with pytest.raises(ValueError, match=r"expected 99\.8 %") if is_refused else nullcontext():
        start.require_expected(lambda: Accuracy(got, None, 0.1, num_samples))


def test_numbers_of_preprocessing_are_in_the_row_and_in_the_file(make_point, digits, weights, tmp_path):
    state = torch.load(weights)
    state["fc1.bias"] += 0.25 * state["fc1.weight"].sum(1)  # for (x − 0.25) / 0.5 the weights halve
    state["fc1.weight"] *= 0.5
    torch.save(state, weights)
    own = "dataset.mean=[0.25]", "dataset.std=[0.5]"
    point = make_point(*LINEAR, f"network.weights={weights}", *own)
    result = run_point(point)
    assert result.signature["normalisation"] == "mean 0.25, std 0.5"
    assert result.config["dataset"]["mean"] == [0.25]
    for path in (point.directory / "network.pt", *(tmp_path / "results" / "references").rglob("*.pt")):
        found = accuracy_on(digits.test, load_network(path, with_preprocessing=True))
        assert found == pytest.approx(result.reference.test_top1_percent)
    assert result.reference.test_top1_percent > 85


def test_another_file_of_the_same_name_is_another_network(make_point, weights, capsys):
    point = make_point(*LINEAR, f"network.weights={weights}", RAW)
    first = run_point(point)
    assert read_status(point).kind == "done"
    torch.save({name: -tensor for name, tensor in torch.load(weights).items()}, weights)
    status = read_status(point)
    assert status.kind == "changed" and status.is_pending and "network.weights has changed" in status.why
    capsys.readouterr()
    second = run_point(point)
    assert second.reference.test_top1_percent < 20 < first.reference.test_top1_percent
    assert "its row is not taken: the file of network.weights has changed since" in capsys.readouterr().out
    assert read_status(point).kind == "done"
    weights.unlink()
    assert read_status(point).kind == "done", "a file that is gone has not changed"


def test_a_builder_that_reads_another_file_is_another_network(make_point, own_code, capsys):
    point = make_point(*custom("fixed"), RAW)
    first = run_point(point)
    assert read_status(point).kind == "to be checked" and not read_status(point).is_to_run
    capsys.readouterr()
    assert run_point(point).started == first.started
    assert "taken from" in capsys.readouterr().out
    torch.save({name: -tensor for name, tensor in torch.load(own_code).items()}, own_code)
    second = run_point(point)
    assert "its row is not taken: what builds its network has changed since" in capsys.readouterr().out
    assert second.reference.test_top1_percent < 20 < first.reference.test_top1_percent


def test_a_row_that_does_not_say_what_it_started_from_is_taken(make_point, weights):
    import dataclasses

    from evaluation.result import write_result

    point = make_point(*LINEAR, f"network.weights={weights}", RAW)
    row = run_point(point)
    kept = {key: value for key, value in row.signature.items() if key not in ("weights", "untrained")}
    write_result(point.directory / "result.json", dataclasses.replace(row, signature=kept))
    torch.save({name: -tensor for name, tensor in torch.load(weights).items()}, weights)
    assert read_status(point).kind == "done"


def test_a_custom_networks_file_does_not_need_the_file_that_its_builder_read(make_point, own_code, digits):
    point = make_point(*custom("build", f"+network.arguments.start={own_code}"), RAW)
    result = run_point(point)
    own_code.unlink()
    network = load_network(point.directory / "network.pt", trust=["my_own_networks"])
    assert accuracy_on(digits.test, network) == pytest.approx(result.reference.test_top1_percent)
    assert result.reference.test_top1_percent > 85


def test_a_file_that_says_more_than_weights_stays_in_the_builder(make_point, own_code, capsys):
    point = make_point(*custom("scaled", f"+network.arguments.start={own_code}"), RAW)
    assert run_point(point).status == "ok"
    assert "network.pt needs the file that its builder reads" in capsys.readouterr().out
    assert load_network(point.directory / "network.pt", trust=["my_own_networks"]).scale == 3.0


def test_a_new_head(make_point, weights, state, tmp_path):
    other = {"fc1.weight": torch.cat([state["weight"]] * 2), "fc1.bias": torch.cat([state["bias"]] * 2)}
    torch.save(other, weights)
    start = [*LINEAR, f"network.weights={weights}"]
    with pytest.raises(ConfigError, match=r"expected 10 classes, got 20 classes; network\.new_head=true"):
        run_point(make_point(*start))
    assert run_point(make_point(*start, "network.new_head=true")).status == "ok"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["network.weights=nowhere.pt"], "network.weights: there is no file .*nowhere.pt; nothing is fetched"),
        (["network.new_head=true"], "network.new_head: there are no network.weights"),
        (["dataset.mean=[0.1,0.2]"], "dataset.mean: expected 1 numbers, one for each channel, got 2"),
        (["dataset.std=[0.0]"], "dataset.std"),
        (["network.expected_top1=120"], "network.expected_top1: expected float > 0, <= 100 or None, got 120"),
        (["dataset.normalisation=some"], "dataset.normalisation: expected 'own' or 'none' or .*, got 'some'"),
        (["+network.wieghts=x"], "network.wieghts: unknown key; did you mean 'weights'"),
        (["+dataset.meen=x"], "dataset.meen: unknown key; did you mean 'mean'"),
    ],
)
def test_mistakes_are_one_line(make_point, overrides, said):
    with pytest.raises(ConfigError, match=said) as caught:
        run_point(make_point(*LINEAR, *overrides))
    assert "\n" not in str(caught.value)


def test_options_that_all_choices_share_change_an_id_only_where_they_say_something(make_point):
    base = make_point(*LINEAR).id
    assert make_point(*LINEAR, "dataset.normalisation=own", "network.weights=null").id == base
    for said in (RAW, "dataset.mean=[0.5]", "dataset.std=[0.5]", "network.weights=w.pt", "network.expected_top1=50"):
        assert make_point(*LINEAR, said).id != base, said


def test_what_is_expected_trains_no_reference_of_its_own(make_point):
    from orchestration.store.reference_key import reference_key

    assert reference_key(make_point(*LINEAR, "network.expected_top1=50")) == reference_key(make_point(*LINEAR))


def test_a_plan_builds_no_network_of_the_users_code(make_point, own_code):
    """It says that the row is to be checked, costs nothing, and counts as nothing to run."""
    from orchestration.sweep.plan import make_plan

    point = make_point(*custom("fixed"), RAW)
    run_point(point)
    sys.modules.pop("my_own_networks", None)
    (line,) = make_plan([point], [read_status(point)])
    assert (line.status.kind, line.seconds, line.trains_reference) == ("to be checked", None, False)
    assert "my_own_networks" not in sys.modules
