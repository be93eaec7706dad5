"""Which attention layers are unfused, which are not and why, and torch's encoders and decoders around them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torchvision.models.swin_transformer import ShiftedWindowAttention

from decompositions.layers.attention import UnfusedAttention
from decompositions.layers.unfuse import unfuse
from decompositions.layers.unfuse_attention import unfuse_attention, why_fused_attention
from decompositions.layers.window_attention import UnfusedWindowAttention
from tests.decompositions.layers.attention_layers import WIDTH, assert_same


class OwnPass(nn.MultiheadAttention):
    def forward(self, query, key, value, **options):
        return super().forward(-query, key, value, **options)


class OwnStart(nn.MultiheadAttention):
    """A subclass that only starts its weights otherwise can be unfused."""

    def _reset_parameters(self) -> None:
        nn.init.ones_(self.in_proj_weight)


class OwnWeight(nn.MultiheadAttention):
    def __init__(self, *sizes) -> None:
        super().__init__(*sizes)
        self.scale = nn.Parameter(torch.ones(()))


class OwnBias(ShiftedWindowAttention):
    def get_relative_position_bias(self) -> torch.Tensor:
        return super().get_relative_position_bias() * 2


def torchs(**options) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(WIDTH, 2, **options)


def changed(change) -> nn.Module:
    layer = torchs()
    change(layer)
    return layer


def windows() -> ShiftedWindowAttention:
    return ShiftedWindowAttention(WIDTH, [4, 4], [2, 2], 2)


def with_prune_in_windows() -> nn.Module:
    layer = windows()
    prune.l1_unstructured(layer.qkv, "weight", 0.3)
    return layer


FUSED = {
    "add_bias_kv": (lambda: torchs(add_bias_kv=True), "add_bias_kv: it has keys"),
    "add_zero_attn": (lambda: torchs(add_zero_attn=True), "add_zero_attn: it has keys"),
    "own pass": (lambda: OwnPass(WIDTH, 2), "OwnPass, has a forward pass of its own"),
    "own weight": (lambda: OwnWeight(WIDTH, 2), "OwnWeight, holds more"),
    "own bias": (lambda: OwnBias(WIDTH, [4, 4], [2, 2], 2), "OwnBias, has a forward pass of its own"),
    "patched": (lambda: changed(lambda layer: setattr(layer, "forward", lambda *_: None)), "forward pass of its own"),
    "hooked": (lambda: changed(lambda layer: layer.register_forward_hook(lambda *_: None)), "hooks"),
    "parametrized": (lambda: parametrizations.weight_norm(torchs(), "in_proj_weight"), "computed"),
    "pruned": (lambda: prune.l1_unstructured(torchs(), "in_proj_weight", 0.3), "computed"),
    "pruned out": (lambda: changed(lambda layer: prune.l1_unstructured(layer.out_proj, "bias", 0.3)), "computed"),
    "pruned windows": (with_prune_in_windows, "computed"),
    "int8 out": (lambda: changed(lambda layer: setattr(layer, "out_proj", nn.Bilinear(8, 8, 8))), "no plain linear"),
}


@pytest.mark.parametrize("name", FUSED)
def test_what_stays_fused_and_why(name):
    make, reason = FUSED[name]
    layer = make()
    network = nn.Sequential(layer, torchs())
    assert reason in why_fused_attention(layer, network) and "\n" not in why_fused_attention(layer, network)
    assert unfuse_attention(network) == {"1": "separate"}
    assert network[0] is layer


def test_shared_weights_stay_shared():
    first, second = torchs(), torchs()
    second.in_proj_weight = first.in_proj_weight
    network = nn.ModuleDict({"first": first, "inner": nn.ModuleDict({"second": second})})
    assert why_fused_attention(first, network) == "shares its weight with inner.second"
    assert unfuse_attention(network) == {}
    one = torchs()
    network = nn.ModuleDict({"one": one, "inner": nn.ModuleDict({"two": one})})
    assert unfuse_attention(network) == {"one": "separate"}
    assert network["one"] is network["inner"]["two"] and isinstance(network["one"], UnfusedAttention)


def test_what_can_be_unfused():
    network = nn.Sequential(torchs(), OwnStart(WIDTH, 2), windows(), nn.Linear(2, 2), nn.LSTM(2, 2))
    assert unfuse(copy.deepcopy(network), joint_qkv=True) == {
        "4": "recurrent", "0": "joint", "1": "joint", "2": "joint",
    }  # fmt: skip
    assert unfuse(network, lambda child: child in ("1.k", "2.qkv")) == {"1": "separate", "2": "separate"}
    assert isinstance(network[2], UnfusedWindowAttention)
    assert unfuse_attention(nn.Sequential(torchs(kdim=4)), joint_qkv=True) == {"0": "separate"}
    with pytest.raises(ValueError, match="the network is itself an MultiheadAttention"):
        unfuse_attention(torchs())


PADDED = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("joint_qkv", [False, True], ids=["separate", "joint"])
def test_encoders_compute_the_same(joint_qkv, training):
    """Dense in evaluation mode, torch's kernel of a whole layer runs, on nested tensors where there is padding."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dtype=torch.float64)
    network = nn.TransformerEncoder(layer, 2).train(training)
    ours = nn.ModuleList([copy.deepcopy(network)])
    assert set(unfuse_attention(ours, joint_qkv=joint_qkv)) == {"0.layers.0.self_attn", "0.layers.1.self_attn"}
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    for options in ({}, {"src_key_padding_mask": PADDED}, {"mask": torch.ones(5, 5).triu(1) > 0}):
        results = []
        for module in (ours[0], network):
            torch.manual_seed(1)
            with torch.no_grad():
                results.append(module(x, **options))
        kept = ~PADDED if "src_key_padding_mask" in options else slice(None)
        assert_same(results[0][kept], results[1][kept])


def test_decoders_compute_the_same():
    torch.manual_seed(0)
    network = nn.Transformer(16, 4, 1, 2, 32, batch_first=True, dtype=torch.float64).eval()
    ours = nn.ModuleList([copy.deepcopy(network)])
    assert len(unfuse_attention(ours)) == 5
    source, target = torch.randn(2, 5, 16, dtype=torch.float64), torch.randn(2, 3, 16, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(3, dtype=torch.float64)
    for inference in (True, False):
        with torch.inference_mode(inference):
            assert_same(*(module(source, target, tgt_mask=mask, tgt_is_causal=True) for module in (ours[0], network)))
