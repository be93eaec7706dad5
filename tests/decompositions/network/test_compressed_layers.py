"""Compressed layers are layers: looked at like dense ones, compressed again, frozen, saved with their structure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions import compress, initialise
from decompositions.cp import CP
from decompositions.network.materialize import materialize
from decompositions.network.serialization import load_network, save_network
from decompositions.ntt import NTT
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker import Tucker
from decompositions.tucker2 import Tucker2


def test_a_factored_layer_is_looked_at_like_a_dense_one():
    network, x = (
        nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(48, 10)),
        torch.randn(2, 8, 4, 4),
    )
    for format in (Tucker2(), TT(2), Tucker()):
        small, _ = compress(network, format, ranks={"0": [3, 3] if format != TT(2) else 2, "2": 2}, example_input=x)
        assert (small[0].stride, small[0].padding, small[0].out_channels) == ((2, 2), (1, 1), 12)
        assert (small[2].in_features, small[2].out_features) == (48, 10)
        assert small[0].weight.shape == (12, 8, 3, 3)
        dense = nn.functional.conv2d(x, small[0].weight, small[0].bias, stride=2, padding=1)
        assert torch.allclose(dense, small[0](x), atol=1e-5)
        assert [*small.state_dict()] == [name for name, _ in small.named_parameters()], "it is formed, not stored"


SEQUENCES = [SVD(), Tucker2(), CP(sweeps=3)]


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("format", [*SEQUENCES, TT(2), TT(2, kernel="first"), Tucker()], ids=str)
def test_older_ways_to_freeze_a_network(format):
    """All linear ones can be traced; what is a row of dense layers can be scripted and rewritten, too."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 16)]
    network, x = nn.Sequential(*layers).eval(), torch.randn(2, 8, 6, 6)
    small, _ = compress(network, format, ranks=3, example_input=x)
    with torch.no_grad():
        expected = small(x)
        assert torch.allclose(torch.jit.trace(small, x)(x), expected, atol=1e-6)
        for freeze in (torch.jit.script, torch.fx.symbolic_trace) if format in SEQUENCES else ():
            assert torch.allclose(freeze(small)(x), expected, atol=1e-6)


def conv_twice() -> tuple[nn.Module, torch.Tensor, dict]:
    """Tucker-2, and its core once more by SVD."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Conv2d(32, 48, 3, padding=1, stride=2), nn.ReLU()).eval(), torch.randn(2, 32, 8, 8)
    once, _ = compress(network, Tucker2(), ranks=[20, 20], example_input=x)
    twice, report = compress(once, SVD(), ranks=9, layers=["0.1"], example_input=x)
    return twice, x, report.structure


def test_what_has_a_nonlinear_part_has_no_weight():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(64, 64)), torch.randn(3, 64)
    once, _ = compress(network, SVD(), ranks=20, example_input=x)
    twice, _ = compress(once, NTT(num_modes=2), ranks=3, layers=["0.1"], example_input=x)
    assert not hasattr(twice[0], "weight")
    with pytest.raises(ValueError, match="a part of this layer is a NTTLinear, which equals no dense layer"):
        twice[0].to_dense()


def test_a_part_of_a_factored_layer_may_be_compressed():
    twice, x, _ = conv_twice()
    dense = twice[0].to_dense()
    assert dense.kernel_size == (3, 3)
    assert torch.allclose(dense(x), twice[0](x), atol=1e-5)
    merged, decisions = materialize(twice, x)
    assert torch.allclose(merged(x), twice(x), atol=1e-5)
    assert decisions[0].name == "0"
    assert initialise(twice) == ["0"], "parts are drawn with the layer that they belong to"
    variance = float(twice[0](torch.randn(64, 32, 16, 16)).var())
    assert 0.5 < variance / 2 < 2.0, "gain² of the last part alone"


def test_the_structure_has_what_earlier_calls_replaced(tmp_path):
    twice, x, structure = conv_twice()
    assert [*structure] == ["0", "0.1"]
    builder = {"target": "tests.decompositions.network.test_compressed_layers.plain", "arguments": {}}
    save_network(tmp_path / "twice.pt", twice, builder, structure)
    loaded = load_network(tmp_path / "twice.pt", trust=["tests"])
    assert torch.equal(loaded(x), twice(x))
    again, report = compress(loaded, SVD(), ranks=5, layers=["0.0"], example_input=x)
    assert [*report.structure] == ["0", "0.0", "0.1"]
    save_network(tmp_path / "again.pt", again, builder, report.structure)
    assert torch.equal(load_network(tmp_path / "again.pt", trust=["tests"])(x), again(x))


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(32, 48, 3, padding=1, stride=2), nn.ReLU())


def test_tucker_and_trains_of_compressed_parts():
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(64, 36)), torch.randn(3, 64)
    once, _ = compress(network, Tucker(), ranks=[5, 5, 7, 7], example_input=x)
    twice, _ = compress(once, SVD(), ranks=3, layers=["0.core"], example_input=x)
    assert torch.allclose(twice[0].to_dense()(x), twice(x), atol=1e-5)
    conv, x = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1)), torch.randn(2, 16, 5, 5)
    once, _ = compress(conv, TT(2), ranks=4, example_input=x)
    twice, _ = compress(once, SVD(), ranks=2, layers=["0.convolution"], example_input=x)
    assert torch.allclose(twice[0].to_dense()(x), twice(x), atol=1e-5)


def test_a_saved_network_keeps_its_types_and_what_does_not_train(tmp_path):
    network = plain().half()
    network[0].bias.requires_grad_(False)
    builder = {"target": "tests.decompositions.network.test_compressed_layers.plain", "arguments": {}}
    save_network(tmp_path / "half.pt", network, builder, {})
    loaded = load_network(tmp_path / "half.pt", trust=["tests"])
    assert loaded[0].weight.dtype == torch.float16
    assert torch.equal(loaded[0].weight, network[0].weight)
    assert [p.requires_grad for p in loaded.parameters()] == [True, False]


def test_a_network_that_its_builder_does_not_build_is_not_saved(tmp_path):
    builder = {"target": "torch.nn.Linear", "arguments": {"in_features": 3, "out_features": 2}}
    network, state = plain(), torch.get_rng_state()
    with pytest.raises(ValueError, match=r"could not be loaded again: torch.nn.Linear .*Missing key.*Unexpected"):
        save_network(tmp_path / "other.pt", network, builder, {})
    assert not (tmp_path / "other.pt").exists()
    assert torch.equal(torch.get_rng_state(), state), "trying draws no numbers of the caller's"
