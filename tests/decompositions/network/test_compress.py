"""One call on models of other people: reports that are true, reasons, refusals, rules that measure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions import compress, load_network, save_network
from decompositions.network.compress import CompressionReport
from decompositions.network.structure import describe, replace_layers, restore
from decompositions.ntt import NTT
from decompositions.rank_search.accuracy import Accuracy
from decompositions.rank_search.energy import Energy
from decompositions.rank_search.fixed import Fixed
from decompositions.rank_search.latency import Latency
from decompositions.search import measure
from decompositions.search.prepare import prepare
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker import Tucker
from decompositions.tucker2 import Tucker2
from evaluation.counts import count_macs
from tests.decompositions.network.models import Small, Tagger
from tests.decompositions.test_format_contract import FORMATS as ALL_FORMATS

NAMES, FORMATS = zip(*ALL_FORMATS.items(), strict=True)


def small(format=None, **options) -> tuple[nn.Module, nn.Module, CompressionReport]:
    torch.manual_seed(0)
    model = Small().eval()
    options = options or {"ranks": 3}
    return model, *compress(model, format or SVD(), example_input=torch.randn(2, 3, 16, 16), **options)


@pytest.mark.parametrize("format", FORMATS, ids=NAMES)
def test_the_report_is_what_the_network_has(format):
    model, compressed, report = small(format)
    assert report.dense_params == sum(p.numel() for p in model.parameters())
    assert report.num_params == sum(p.numel() for p in compressed.parameters()) < report.dense_params
    assert report.dense_macs == count_macs(model, (3, 16, 16))
    assert report.macs == count_macs(compressed, (3, 16, 16))
    rows = {row.name: row for row in report.layers}
    assert list(rows) == ["stem", "depthwise", "body", "head"]
    assert "groups=16" in rows["depthwise"].reason
    for name in ("stem", "body"):
        assert rows[name].rank is not None
        layer = compressed.get_submodule(name)
        assert sum(p.numel() for p in layer.parameters()) == rows[name].num_params
        assert 0 < rows[name].relative_error < 1
    assert "groups=16" in str(report)
    assert len(str(report).splitlines()) == 1 + 4 + 1 + 1


def test_the_model_given_is_untouched_and_its_mode_kept():
    model, compressed, _ = small()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        for parameter in compressed.parameters():
            parameter.add_(1)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())
    assert not compressed.training
    model.train()
    assert compress(model, SVD(), example_input=torch.randn(1, 3, 16, 16), ranks=3)[0].training


def test_each_way_to_choose_ranks():
    for share in (0.5, 0.8):
        _, _, report = small(budget=share)
        assert report.num_params <= share * report.dense_params
    _, _, report = small(budget=0.6, of="macs")
    assert report.macs <= 0.6 * report.dense_macs
    _, _, report = small(ranks={"stem": 2, "body": 5})
    assert {row.name: row.rank for row in report.layers} == {"stem": 2, "depthwise": None, "body": 5, "head": None}
    _, _, report = small(Tucker2(), ranks={"body": [4, 6]})
    assert {row.name: row.rank for row in report.layers}["body"] == (4, 6)
    _, _, report = small(rule=Energy(0.5))
    assert all(row.relative_error <= 0.5 for row in report.layers)
    _, _, report = small(ranks=2, layers=["head"])
    assert [row.name for row in report.layers if row.rank is not None] == ["head"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ranks": 3, "budget": 0.5}, "exactly one of budget, ranks and rule"),
        ({"ranks": None}, "exactly one of budget, ranks and rule"),
        ({"ranks": 3, "layers": ["nope"]}, "'nope' matches no linear or convolution layer; there are stem"),
        ({"ranks": 3, "layers": ["depthwise"]}, "no layer to compress .*groups=16"),
        ({"ranks": {"nope": 3}}, "'nope' matches none of"),
        ({"budget": 0.001}, "raise the share to"),
        ({"budget": 2.0}, "above 0 and up to 1, got 2.0"),
        ({"budget": float("nan")}, "above 0 and up to 1, got nan"),
        ({"ranks": 3, "layers": "stem"}, "got the string 'stem'"),
        ({"ranks": 3, "min_rank": -1}, "at least 0, got -1"),
        ({"ranks": 3, "format": Tucker(modes={"16": [4, 4]}), "layers": ["stem"]}, "which are none .* got '16'"),
    ],
)
def test_what_cannot_be_done_is_said(options, said):
    with pytest.raises(ValueError, match=said):
        small(**options)


@pytest.mark.parametrize("format", FORMATS, ids=NAMES)
def test_the_weights_of_recurrent_layers(format):
    torch.manual_seed(0)
    model, x = Tagger().eval(), torch.randn(3, 10, 48)
    compressed, report = compress(model, format, ranks=2, example_input=x)
    assert isinstance(model.rnn, nn.LSTM), "the model given is untouched"
    rows = {row.name: row for row in report.layers}
    names = ["rnn.ih_l0", "rnn.hh_l0", "rnn.ih_l1", "rnn.hh_l1", "back.ih_l0", "back.hh_l0", "back.ih_l0_reverse"]
    assert set(rows) == {*names, "back.hh_l0_reverse", "head"}
    assert rows["rnn.ih_l0"].rank is not None
    assert rows["rnn.hh_l0"].dense_macs == 10 * 4 * 32 * 32, "once a frame"
    assert report.num_params == sum(p.numel() for p in compressed.parameters()) < report.dense_params
    assert report.macs == count_macs(compressed, (10, 48))
    assert compressed(x).shape == (3, 7)
    compressed(x).square().sum().backward()
    full, _ = compress(model, SVD(), ranks={"*": 15}, example_input=x, layers=["rnn.hh*"])
    near, _ = compress(model, SVD(), ranks={"*": 25}, example_input=x, layers=["rnn.hh*"])
    errors = [float((net(x) - model(x)).norm()) for net in (full, near)]
    assert 0 < errors[1] < errors[0], "more ranks, nearer"


def test_a_network_with_opened_layers_is_restored():
    torch.manual_seed(0)
    model, format = Tagger(), SVD()
    search = prepare(model, (10, 48), format, Fixed({"rnn.ih_l0": 3}))
    step = search({name: site.weight.detach() for name, site in search.sites.items()}, 1.0)
    compressed = replace_layers(model, format, step.factors)
    structure = describe(format, step.ranks, search.unfused)
    assert set(structure) == {"rnn", "back", "rnn.ih_l0"}
    rebuilt = restore(Tagger(), structure)
    rebuilt.load_state_dict(compressed.state_dict())
    x = torch.randn(3, 10, 48)
    assert torch.equal(rebuilt(x), compressed(x))


def test_recurrent_layers_that_cannot_be_opened_stay_with_the_reason():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.old, self.head = nn.RNN(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.old(x)[0])

    compressed, report = compress(Mixed(), SVD(), ranks=2, example_input=torch.randn(2, 5, 8))
    assert isinstance(compressed.old, nn.RNN)
    assert "nn.LSTM and nn.GRU" in {row.name: row.reason for row in report.layers}["old"]


def test_the_accuracy_rule_measures_the_compressed_network():
    """A teacher labels noise: its own answers are 100 % right, and fewer ranks agree with it less."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 5)).eval()
    x = torch.randn(400, 40)
    with torch.no_grad():
        model[0].weight.mul_(torch.logspace(0, -2, 40))  # some inputs matter more: ranks below full lose little
        labels = model(x).argmax(1)

    def evaluate(network: nn.Module) -> float:
        with torch.no_grad():
            return 100 * float((network(x).argmax(1) == labels).float().mean())

    params = []
    for epsilon in (2.0, 10.0, 40.0):
        compressed, report = compress(model, SVD(), rule=Accuracy(epsilon), example_input=x[:1], evaluate=evaluate)
        assert evaluate(compressed) >= 100 - epsilon
        params.append(report.num_params)
    assert params == sorted(params, reverse=True)
    assert params[0] > params[-1]
    with pytest.raises(ValueError, match="evaluate="):
        compress(model, SVD(), rule=Accuracy(1.0), example_input=x[:1])


def test_the_latency_rule_measures_each_layer_and_rank_once(monkeypatch):
    measured = []

    def clock(layers, batch):
        measured.append((len(layers), tuple(batch.shape)))
        return [float(sum(p.numel() for p in layer.parameters())) for layer in layers]

    monkeypatch.setattr(measure, "measure_latency_ms", clock)
    monkeypatch.setattr(measure, "_measured", {})
    for _ in range(2):
        _, report = small(rule=Latency(0.6, batch_size=4, num_ranks=3))[1:]
    assert "ms used" in report.rank_reason
    shapes = [(4, 3, 16, 16), (4, 16, 8, 8), (4, 16)]
    assert [shape for _, shape in measured] == shapes, "stem, body, head: once, though the search ran twice"
    used = sum(row.num_params for row in report.layers if row.reason is None or "rule" in row.reason)
    assert used <= 0.6 * sum(row.dense_params for row in report.layers if "groups" not in (row.reason or ""))


def test_shared_parameters_and_hooks_keep_a_layer_dense():
    """Replacing one owner would untie the others, and the counts would be wrong."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(50, 16), nn.Linear(16, 50)
            self.one, self.two, self.hooked = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
            self.out.weight, self.two.bias = self.words.weight, self.one.bias
            self.hooked.register_forward_hook(lambda *_: None)
            self.free = nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.free(self.hooked(self.two(self.one(self.words(x))))))

    tokens = torch.zeros(2, 5, dtype=torch.int64)
    compressed, report = compress(Tied(), SVD(), ranks=3, example_input=tokens)
    reasons = {row.name: row.reason for row in report.layers}
    assert reasons["out"] == "shares its weight with words"
    assert reasons["one"] == "shares its bias with two"
    assert "hooks" in reasons["hooked"]
    assert reasons["free"] is None
    assert report.num_params == sum(p.numel() for p in compressed.parameters())


def test_frozen_layers_stay_frozen_and_recurrent_layers_out_of_reach_stay_closed():
    model = Tagger().requires_grad_(False)
    compressed, report = compress(model, SVD(), ranks=2, example_input=torch.randn(2, 6, 48), layers=["head"])
    assert not any(p.requires_grad for p in compressed.parameters())
    assert isinstance(compressed.rnn, nn.LSTM)
    assert {row.name: row.reason for row in report.layers}["rnn"] == "not selected by layers"


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e25])
def test_errors_of_extreme_weights(scale):
    model = nn.Sequential(nn.Linear(20, 20))
    with torch.no_grad():
        model[0].weight.mul_(scale)
    error = compress(model, SVD(), ranks=3, example_input=torch.randn(1, 20))[1].layers[0].relative_error
    assert error == 0 if scale == 0 else 0.1 < error < 1


def test_what_probes_do_to_modes_and_what_they_may_return():
    modes = []

    def evaluate(network: nn.Module) -> float:
        modes.append({module.training for module in network.modules()})
        network.eval()
        return 50.0

    model = nn.Sequential(nn.Linear(20, 20), nn.BatchNorm1d(20)).train()
    model[1].eval()
    x = torch.randn(2, 20)
    compressed, _ = compress(model, SVD(), rule=Accuracy(1.0), example_input=x, evaluate=evaluate)
    assert compressed[0].training
    assert not compressed[1].training
    model.eval()
    modes.clear()
    compress(model, NTT(norm="batch"), rule=Accuracy(1.0), example_input=x, evaluate=evaluate)
    assert all(mode == {False} for mode in modes), "layers on trial are in the mode of those they replace"
    for wrong in (float("nan"), None):
        with pytest.raises(ValueError, match="a finite number, got"):
            compress(model, SVD(), rule=Accuracy(1.0), example_input=x, evaluate=lambda network, wrong=wrong: wrong)


def test_a_compressed_model_is_saved_and_loaded(tmp_path):
    builder = {"target": "tests.decompositions.network.models.Tagger", "arguments": {}}
    compressed, report = compress(Tagger(), TT(), ranks=2, example_input=torch.randn(2, 6, 48))
    save_network(tmp_path / "small.pt", compressed, builder, report.structure)
    x = torch.randn(3, 6, 48)
    assert torch.equal(load_network(tmp_path / "small.pt", trust=["tests"])(x), compressed.eval()(x))


def test_single_layers_and_unfused_times_are_refused():
    with pytest.raises(ValueError, match="put it into an nn"):
        compress(nn.Linear(8, 8), SVD(), ranks=2, example_input=torch.randn(1, 8))
    with pytest.raises(ValueError, match="fused kernel"):
        compress(Tagger(), SVD(), rule=Latency(0.5), example_input=torch.randn(2, 6, 48), layers=["rnn*"])
