"""deterministic=true is refused where torch would raise in the first backward pass, by the layer's name."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_modules.training.determinism import NAMES, refuse_irreproducible
from lightning_modules.training.trainer_config import TrainerConfig
from orchestration.errors import ConfigError
from orchestration.run.build import build_components


class Resized(nn.Module):
    def forward(self, x):
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear")


@pytest.mark.parametrize(
    ("layer", "shape", "said"),
    [
        (nn.AdaptiveAvgPool2d(3), (2, 7, 7), "AdaptiveAvgPool2d in 0.body"),
        (nn.AvgPool3d(2), (2, 4, 4, 4), "AvgPool3d in 0.body"),
        (Resized(), (2, 4, 4), "interpolate in 0.body"),
    ],
)
def test_what_cannot_repeat_is_named(layer, shape, said):
    network = nn.Sequential(nn.Sequential(), nn.Flatten())
    network[0].add_module("body", layer)
    with pytest.raises(ValueError, match=f"deterministic=true: .*: {said}; take trainer.deterministic=false"):
        refuse_irreproducible(network, shape)
    assert not layer._forward_hooks and not layer._forward_pre_hooks


def test_pooling_to_one_number_is_a_mean_and_repeats():
    refuse_irreproducible(nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.MaxPool2d(1)), (2, 7, 7))


def test_the_operators_are_those_that_passes_use():
    assert all(hasattr(torch.ops.aten, name) for name in NAMES)


def test_it_is_refused_before_anything_trains_and_on_a_gpu_alone(make_point, monkeypatch):
    asked = ("method=reference", "network=custom", "trainer.deterministic=true",
             "network.target=tests.lightning_modules.training.test_determinism.pooled")  # fmt: skip
    build_components(make_point(*asked))
    monkeypatch.setattr(TrainerConfig, "device", lambda trainer_config: torch.device("cuda", 0))
    with pytest.raises(ConfigError, match=r"^trainer\.deterministic=true: .*AdaptiveAvgPool2d in 0"):
        build_components(make_point(*asked))


def pooled(input_shape, num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, num_classes))
