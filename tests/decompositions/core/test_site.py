"""The sites of a network, and why other layers stay dense."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions.core.site import survey
from networks.lenet import lenet5


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.tied = nn.Linear(6, 6)
        self.tied.weight = self.a.weight
        self.twice = nn.Linear(6, 6)
        self.grouped = nn.Conv1d(4, 4, 3, groups=2)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.twice(self.twice(self.tied(self.a(x)))) + self.grouped(x.new_zeros(1, 4, 3)).sum()


def test_survey_counts_positions_and_says_why_layers_are_skipped():
    sites = survey(lenet5([1, 28, 28], 10), (1, 28, 28)).sites
    assert {n: s.positions for n, s in sites.items()} == {"conv1": 576, "conv2": 64, "fc1": 1, "fc2": 1}
    assert sum(s.macs for s in sites.values()) == 2_293_000
    found = survey(Shared(), (6,))
    assert found.sites["twice"].positions == 2, "a layer used twice counts twice"
    assert set(found.sites) == {"twice"}
    assert found.skipped["tied"] == "shares its weight with a"
    assert found.skipped["a"] == "shares its weight with tied", "replacing one of them would untie both"
    assert "groups=2" in found.skipped["grouped"]
    assert "never called" in found.skipped["unused"]


def test_layer_patterns_choose_and_unknown_ones_are_refused():
    found = survey(lenet5([1, 28, 28], 10), (1, 28, 28), ["fc*"])
    assert set(found.sites) == {"fc1", "fc2"}
    assert found.skipped["conv1"] == "not selected by layers"
    with pytest.raises(ValueError, match=r"'dense\*' matches no .* conv1, conv2, fc1, fc2"):
        survey(lenet5([1, 28, 28], 10), (1, 28, 28), ["fc*", "dense*"])


@pytest.mark.parametrize(
    "wrap", [torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.parametrizations.spectral_norm]
)
def test_computed_weights_stay_dense_with_the_reason(wrap):
    network = nn.Sequential(wrap(nn.Linear(8, 8)), nn.Linear(8, 8))
    found = survey(network, (8,))
    assert set(found.sites) == {"1"}
    assert "its weight is computed" in found.skipped["0"]


def test_layers_with_a_pass_of_their_own_stay_dense_with_the_reason():
    class Standardised(nn.Conv2d):
        def _conv_forward(self, x, weight, bias):
            return super()._conv_forward(x, weight - weight.mean(), bias)

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    network = nn.Sequential(Standardised(3, 4, 3), nn.Flatten(), Doubled(64, 8), nn.Linear(8, 8))
    found = survey(network, (3, 6, 6))
    assert set(found.sites) == {"3"}
    assert "Standardised, has a forward pass of its own" in found.skipped["0"]
    assert "Doubled" in found.skipped["2"]
