"""Global magnitude pruning: which weights go, how many, and that they stay away while the others train."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from decompositions import load_network
from decompositions.core.site import dense_sites
from evaluation.counts import count
from lightning_modules.prune import Prune, num_kept_weights
from lightning_modules.training.classifier import Classifier
from lightning_modules.training.runner import Runner
from orchestration.errors import ConfigError
from orchestration.run.build import build_components
from orchestration.run.run_point import run_point

FAST = "network.hidden=[20]"


@pytest.fixture
def runner(make_point):
    components = build_components(make_point("method=prune", FAST, "schedule.fine_tune.epochs=2"))
    components.data.setup()
    return Runner(components.data, components.schedule, components.trainer_config, None, 0)


@pytest.fixture
def reference(make_point):
    """Layers whose weights are of very different sizes, so that a share a layer would take others than one for all."""
    network = build_components(make_point("method=prune", FAST)).network(0)
    with torch.no_grad():
        network.fc2.weight.mul_(10)
        network.fc1.bias.fill_(1e-6)  # smaller than every weight that stays
        network.fc2.bias.fill_(1e-6)
    return network


def test_the_smallest_weights_of_all_layers_together_go(reference, runner, monkeypatch):
    monkeypatch.setattr(Runner, "train", lambda *_, **__: None)
    network = Prune(share=0.3).compress(reference, runner).network
    weights = [getattr(reference, name).weight.detach().numpy() for name in ("fc1", "fc2")]
    num_params = 64 * 20 + 20 + 200 + 10
    num_kept = math.floor(0.3 * num_params) - 30
    threshold = np.sort(np.abs(np.concatenate([w.ravel() for w in weights])))[-num_kept]
    for name, weight in zip(("fc1", "fc2"), weights, strict=True):
        pruned = getattr(network, name)
        np.testing.assert_array_equal(pruned.weight.detach().numpy(), np.where(np.abs(weight) >= threshold, weight, 0))
        torch.testing.assert_close(pruned.bias, getattr(reference, name).bias, rtol=0, atol=0)
    shares = [float((np.abs(w) >= threshold).mean()) for w in weights]
    assert shares[1] > 2 * shares[0], "one threshold, not one share a layer"


@pytest.mark.parametrize("share", [0.05, 0.3, 0.77, 1.0])
def test_no_more_than_the_share_is_left_after_fine_tuning(reference, runner, share):
    counts = count(Prune(share).compress(reference, runner).network, (1, 8, 8))
    assert counts.num_params == 1510
    assert math.floor(share * 1510) - 5 <= counts.num_nonzero <= math.floor(share * 1510)


def test_what_is_pruned_stays_zero_while_the_rest_trains(reference, runner, monkeypatch):
    train, masks = Runner.train, {}

    def spied(self, module: Classifier, *arguments, **options):
        masks.update({name: b.clone() for name, b in module.network.named_buffers()})
        train(self, module, *arguments, **options)

    monkeypatch.setattr(Runner, "train", spied)
    before = copy.deepcopy(reference.state_dict())
    network = Prune(0.3).compress(reference, runner).network
    assert runner.epochs == 2
    for name in ("fc1", "fc2"):
        mask, weight = masks[f"{name}.weight_mask"].bool(), getattr(network, name).weight
        assert not weight[~mask].any()
        assert (weight[mask] != before[f"{name}.weight"][mask]).float().mean() > 0.5, "the others trained"
        assert (getattr(network, name).bias != before[f"{name}.bias"]).all()
    assert set(network.state_dict()) == set(before), "no mask is left behind"
    assert all(torch.equal(before[key], value) for key, value in reference.state_dict().items())


def test_layers_that_are_not_chosen_are_kept_and_grouped_convolutions_are_not(runner):
    network = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 10))
    found = dense_sites(network, (4, 8, 8), ["0"])
    assert list(found.sites) == ["0"]
    assert found.skipped == {"3": "not selected by layers"}
    num_params = sum(p.numel() for p in network.parameters())
    assert num_kept_weights(0.99, network, found) == math.floor(0.99 * num_params) - (num_params - 8 * 2 * 9)


@pytest.mark.parametrize(("overrides", "least"), [(["method.share=0.01"], 31 / 1510), (["method.layers=[fc2]"], 0)])
def test_a_share_that_leaves_no_weight_is_refused_with_the_least_that_does(make_point, overrides, least):
    with pytest.raises(ConfigError, match="share: expected at least") as caught:
        build_components(make_point("method=prune", FAST, *overrides))
    said = float(str(caught.value).split("at least ")[1].split(",")[0])
    assert "\n" not in str(caught.value)
    if least:
        assert said == pytest.approx(least, abs=2e-6)
    build_components(make_point("method=prune", FAST, *overrides, f"method.share={said}"))


def test_the_row_says_what_is_zero_and_that_nothing_else_is_gained(make_point):
    point = make_point("method=prune", FAST, "method.share=0.3")
    result = run_point(point)
    before, after = result.reference, result.compressed
    assert (before.num_params, before.macs) == (after.num_params, after.macs)
    assert after.num_bytes == before.num_bytes
    assert before.num_nonzero <= before.num_params
    assert 440 <= after.num_nonzero <= 453
    stored = load_network(point.directory / "network.pt")
    assert count(stored, (1, 8, 8)).num_nonzero == after.num_nonzero
    assert result.layers["fc1"]["form"].endswith("%)")
