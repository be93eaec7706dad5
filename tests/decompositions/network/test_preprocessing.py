"""A network's file keeps what was done to pixels, and gives a module that does it."""

from __future__ import annotations

import pytest
import torch

from decompositions import load_network, save_network
from decompositions.network.serialization import FILE_VERSION
from networks.mlp import mlp

BUILDER = {"target": "networks.mlp.mlp", "arguments": {"input_shape": [3, 4, 4], "num_classes": 5, "hidden": [6]}}
MEAN, DEVIATION = torch.tensor([0.1, 0.2, 0.3])[:, None, None], torch.tensor([0.5, 2.0, 0.25])[:, None, None]


@pytest.mark.parametrize("deviation", [None, DEVIATION])
@pytest.mark.parametrize("mean", [MEAN, torch.linspace(0, 1, 48).reshape(3, 4, 4)], ids=["channels", "image"])
def test_a_module_that_takes_pixels(tmp_path, mean, deviation):
    network, pixels = mlp([3, 4, 4], 5, [6]).eval(), torch.rand(7, 3, 4, 4)
    path = tmp_path / "network.pt"
    save_network(path, network, BUILDER, {}, {"mean": mean, "deviation": deviation})
    loaded = load_network(path, with_preprocessing=True)
    assert not loaded.training
    expected = network((pixels - mean) / (1.0 if deviation is None else deviation))
    assert torch.allclose(loaded(pixels), expected, atol=1e-6)
    assert torch.equal(load_network(path)(pixels), network(pixels)), "the network alone reads what its data made"
    assert [type(module) for module in loaded.network] == [type(module) for module in network]


def test_a_file_that_does_not_keep_it_says_so(tmp_path):
    path = tmp_path / "network.pt"
    save_network(path, mlp([3, 4, 4], 5, [6]), BUILDER, {})
    older = torch.load(path, weights_only=True)
    del older["preprocessing"]
    assert older["version"] == FILE_VERSION, "older files can be read"
    for content in (None, older):
        if content is not None:
            torch.save(content, path)
        load_network(path)
        with pytest.raises(ValueError, match="does not say how its pixels were normalised") as caught:
            load_network(path, with_preprocessing=True)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
