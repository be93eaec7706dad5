"""Unfusing the recurrent layers of a network in place: which are, which are not and why, what stays the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from decompositions.layers.recurrent import UnfusedGRU, UnfusedLSTM
from decompositions.layers.unfuse import unfuse_recurrent, why_fused
from tests.decompositions.layers.recurrent_layers import BATCH, HIDDEN, IN, KINDS, TIME, Classifier, assert_same, pair


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@KINDS
def test_the_parameters_are_the_same_objects(kind):
    network = Classifier(kind, num_layers=2, bidirectional=True).double().eval()
    rnn = network.body["rnn"]
    rnn.weight_hh_l1_reverse.requires_grad_(False)
    x = torch.randn(BATCH, TIME, IN, dtype=torch.float64)
    expected = network(x)
    ids = {id(p) for p in network.parameters()}
    random = torch.get_rng_state()
    assert unfuse_recurrent(network) == ["body.rnn"]
    assert torch.equal(torch.get_rng_state(), random)
    unfused = network.body["rnn"]
    assert "3, 5, num_layers=2, batch_first=True, bidirectional=True" in repr(unfused)
    assert type(unfused) is (UnfusedLSTM if kind is nn.LSTM else UnfusedGRU)
    assert {id(p) for p in network.parameters()} == ids
    assert unfused.hh_l1_reverse.weight is rnn.weight_hh_l1_reverse
    assert unfused.ih_l1.bias is rnn.bias_ih_l1
    assert not unfused.hh_l1_reverse.weight.requires_grad
    assert not any(module.training for module in network.modules())
    assert_same([network(x)], [expected])
    children = dict(unfused.named_modules())
    assert unfuse_recurrent(network) == []
    assert network.body["rnn"] is unfused and dict(unfused.named_modules()) == children


@KINDS
def test_training_mode_is_kept(kind):
    network = Classifier(kind).train()
    network.body["rnn"].eval()
    unfuse_recurrent(network)
    assert network.training and not network.body["rnn"].training and not network.body["rnn"].ih_l0.training


@KINDS
def test_copies_and_states(kind):
    network = Classifier(kind, num_layers=2).eval()
    unfuse_recurrent(network)
    x = torch.randn(BATCH, TIME, IN)
    expected = network(x)
    twin = copy.deepcopy(network)
    assert_same([twin(x)], [expected])
    with torch.no_grad():
        twin.body["rnn"].hh_l1.weight.zero_()
    assert (twin(x) - expected).abs().max() > 1e-3, "the copy must use its own weights"
    assert_same([network(x)], [expected])
    twin.load_state_dict(network.state_dict())
    assert_same([twin(x)], [expected])
    other = Classifier(kind, num_layers=2).eval()
    unfuse_recurrent(other)
    other.load_state_dict(network.state_dict())
    assert_same([other(x)], [expected])


@KINDS
def test_a_shared_layer_stays_shared(kind):
    shared = kind(IN, IN)
    network = nn.ModuleDict({"one": shared, "inner": nn.ModuleDict({"two": shared, "other": kind(IN, IN)})})
    assert unfuse_recurrent(network) == ["one", "inner.other"]
    assert network["one"] is network["inner"]["two"]
    assert network["one"] is not network["inner"]["other"]
    assert type(network["one"]) in (UnfusedLSTM, UnfusedGRU)


class OwnPass(nn.LSTM):
    def forward(self, input, hx=None):
        return super().forward(-input, hx)


class OwnStart(nn.GRU):
    """A subclass that only starts its weights otherwise can be unfused."""

    def __init__(self, *sizes) -> None:
        super().__init__(*sizes)
        nn.init.zeros_(self.bias_hh_l0)


class OwnWeight(nn.GRU):
    def __init__(self, *sizes) -> None:
        super().__init__(*sizes)
        self.start = nn.Parameter(torch.zeros(1, 1, HIDDEN))


def patched() -> nn.Module:
    layer = nn.LSTM(IN, HIDDEN)
    layer.forward = lambda x, hx=None: x
    return layer


def hooked() -> nn.Module:
    layer = nn.LSTM(IN, HIDDEN)
    layer.register_forward_hook(lambda *_: None)
    return layer


FUSED = {
    "rnn": (lambda: nn.RNN(IN, HIDDEN), "other than"),
    "rnn_cell": (lambda: nn.RNNCell(IN, HIDDEN), "other than"),
    "lstm_cell": (lambda: nn.LSTMCell(IN, HIDDEN), "other than"),
    "gru_cell": (lambda: nn.GRUCell(IN, HIDDEN), "other than"),
    "own_pass": (lambda: OwnPass(IN, HIDDEN), "OwnPass"),
    "patched": (patched, "forward pass of its own"),
    "own_weight": (lambda: OwnWeight(IN, HIDDEN), "OwnWeight"),
    "hooked": (hooked, "hooks"),
    "parametrized": (lambda: parametrizations.weight_norm(nn.LSTM(IN, HIDDEN), "weight_hh_l0"), "computed"),
    "spectral": (lambda: parametrizations.spectral_norm(nn.GRU(IN, HIDDEN), "weight_ih_l0"), "computed"),
    "old_weight_norm": (lambda: nn.utils.weight_norm(nn.GRU(IN, HIDDEN), "weight_hh_l0"), "computed"),
    "old_spectral": (lambda: nn.utils.spectral_norm(nn.LSTM(IN, HIDDEN), "weight_hh_l0"), "computed"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUSED)
def test_what_stays_fused_and_why(name):
    make, reason = FUSED[name]
    layer = make()
    network = nn.Sequential(layer, nn.LSTM(IN, HIDDEN))
    assert reason in why_fused(layer) and "\n" not in why_fused(layer)
    assert unfuse_recurrent(network) == ["1"]
    assert network[0] is layer


def test_what_can_be_unfused():
    layers = [nn.LSTM(IN, HIDDEN), nn.GRU(IN, HIDDEN), OwnStart(IN, HIDDEN), nn.Linear(2, 2), pair(nn.LSTM)[1]]
    assert [why_fused(layer) for layer in layers] == [None] * len(layers)
    assert unfuse_recurrent(nn.Sequential(*layers)) == ["0", "1", "2"]
    with pytest.raises(ValueError, match="itself an LSTM"):
        unfuse_recurrent(nn.LSTM(IN, HIDDEN))
