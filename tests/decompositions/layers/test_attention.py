"""Unfused attention computes what torch's does, and its weights are linear layers that are called."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from decompositions.layers.attention import UnfusedAttention
from decompositions.layers.unfuse_attention import unfuse_attention
from tests.decompositions.layers.attention_layers import (
    BATCH,
    HEADS,
    KEYS,
    QUERIES,
    WIDTH,
    assert_same,
    randomised,
    unfused,
)

KINDS = {
    "plain": {}, "batch first": {"batch_first": True}, "no bias": {"bias": False}, "dropout": {"dropout": 0.5},
    "own sizes": {"kdim": 6, "vdim": 7, "batch_first": True}, "own values": {"vdim": 7, "bias": False},
    "odd heads": {"num_heads": 1, "batch_first": True},
}  # fmt: skip


def made(**options) -> nn.MultiheadAttention:
    return randomised(nn.MultiheadAttention(WIDTH, options.pop("num_heads", HEADS), dtype=torch.float64, **options))


def inputs(layer: nn.MultiheadAttention, batched: bool = True) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values."""
    shapes = [(QUERIES, WIDTH), (KEYS, layer.kdim), (KEYS, layer.vdim)]
    if not batched:
        return tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)
    x = tuple(torch.randn(BATCH, *shape, dtype=torch.float64) for shape in shapes)
    return x if layer.batch_first else tuple(each.transpose(0, 1) for each in x)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("joint_qkv", [False, True], ids=["separate", "joint"])
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_weights_and_gradients_are_those_of_torch(kind, training, joint_qkv):
    layer = made(**KINDS[kind]).train(training)
    ours = unfused(layer, joint_qkv)
    assert ours.training == training
    x = [each.requires_grad_() for each in inputs(layer)]
    for options in ({}, {"need_weights": False}, {"average_attn_weights": False}):
        results = []
        for module in (ours, layer):
            torch.manual_seed(1)
            results.append(module(*x, **options))
        for our, their in zip(*results, strict=True):
            assert_same(our, their)
        gradients = [torch.autograd.grad(output.square().sum(), x) for output, _ in results]
        for our, their in zip(*gradients, strict=True):
            assert_same(our, their, 1e-10)


@pytest.mark.parametrize("joint_qkv", [False, True], ids=["separate", "joint"])
def test_self_attention_is_that_of_the_fast_path(joint_qkv):
    layer = made(batch_first=True).eval()
    x = torch.randn(BATCH, QUERIES, WIDTH, dtype=torch.float64)
    ours = unfused(layer, joint_qkv)
    called = []
    for child in ours.children():
        child.register_forward_hook(lambda *_: called.append(1))
    with torch.no_grad():
        assert_same(ours(x, x, x)[0], layer(x, x, x)[0])
    assert len(called) == (2 if joint_qkv else 4), "each layer is called once"


@pytest.mark.parametrize("joint_qkv", [False, True], ids=["separate", "joint"])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("mask", ["bool", "float", "of each head", "padding", "float padding", "both", "causal"])
def test_masks_are_those_of_torch(mask, need_weights, joint_qkv):
    layer = made(batch_first=True).eval()
    x = torch.randn(BATCH, QUERIES, WIDTH, dtype=torch.float64)
    causal = torch.ones(QUERIES, QUERIES, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
    of_heads = torch.rand(BATCH * HEADS, QUERIES, QUERIES) > 0.7
    of_heads[:, :, 0] = False
    options = {
        "bool": {"attn_mask": causal},
        "float": {"attn_mask": torch.randn(QUERIES, QUERIES, dtype=torch.float64)},
        "of each head": {"attn_mask": of_heads},
        "padding": {"key_padding_mask": padding},
        "float padding": {"key_padding_mask": torch.randn(BATCH, QUERIES, dtype=torch.float64)},
        "both": {"attn_mask": causal, "key_padding_mask": padding},
        "causal": {"attn_mask": causal, "is_causal": True},
    }[mask]
    for our, their in zip(
        unfused(layer, joint_qkv)(x, x, x, need_weights=need_weights, **options),
        layer(x, x, x, need_weights=need_weights, **options),
        strict=True,
    ):
        assert_same(our, their)


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_without_a_batch(batch_first):
    layer = made(batch_first=batch_first).eval()
    x = inputs(layer, batched=False)
    padding = torch.tensor([False, False, True, True])
    for our, their in zip(
        unfused(layer)(*x, key_padding_mask=padding), layer(*x, key_padding_mask=padding), strict=True
    ):
        assert_same(our, their)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_it_does_not_take_is_said_in_one_line():
    ours, x = unfused(made(batch_first=True)), torch.randn(1, QUERIES, WIDTH, dtype=torch.float64)
    with pytest.raises(ValueError, match="pass the causal mask too"):
        ours(x, x, x, is_causal=True)
    with pytest.raises(ValueError, match=r"booleans or of floats, got torch\.int64"):
        ours(x, x, x, attn_mask=torch.zeros(QUERIES, QUERIES, dtype=torch.long))
    nested = torch.nested.nested_tensor([x[0], x[0, :2]])
    with pytest.raises(ValueError, match="pass a padded batch and key_padding_mask"):
        ours(nested, nested, nested)


@pytest.mark.parametrize("joint_qkv", [False, True], ids=["separate", "joint"])
def test_the_names_of_the_fused_layer_are_served(joint_qkv):
    layer = made()
    ours = unfused(layer, joint_qkv)
    assert torch.equal(ours.in_proj_weight, layer.in_proj_weight) and torch.equal(ours.in_proj_bias, layer.in_proj_bias)
    assert torch.equal(ours.out_proj.weight, layer.out_proj.weight)
    assert ours.q_proj_weight is None and ours.bias_k is None and ours.embed_dim == WIDTH and ours.head_dim == 4
    assert not hasattr(ours, "other_weight")
    assert repr(unfused(made(dropout=0.5, batch_first=True))).startswith(
        "UnfusedAttention(\n  8, 2, dropout=0.5, batch_first=True"
    )
    own = made(kdim=6, vdim=7, bias=False)
    ours = unfused(own, joint_qkv)
    assert torch.equal(ours.k_proj_weight, own.k_proj_weight) and torch.equal(ours.v_proj_weight, own.v_proj_weight)
    assert ours.in_proj_weight is None and ours.in_proj_bias is None and not ours.joint_qkv


def test_parameters_are_taken_over():
    layer = made()
    layer.in_proj_weight.requires_grad_(False)
    random = torch.get_rng_state()
    ours, joint = unfused(layer), unfused(layer, joint_qkv=True)
    assert torch.equal(torch.get_rng_state(), random)
    assert not ours.q.weight.requires_grad and ours.q.bias.requires_grad
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in layer.parameters())
    assert torch.equal(joint.qkv.weight, layer.in_proj_weight) and not joint.qkv.weight.requires_grad
    holder = nn.ModuleList([layer])
    unfuse_attention(holder, joint_qkv=True)
    assert holder[0].qkv.weight is layer.in_proj_weight and holder[0].out_proj.bias is layer.out_proj.bias
    twin = copy.deepcopy(ours)
    x = inputs(layer)
    assert_same(twin(*x)[0], ours(*x)[0])
    with torch.no_grad():
        twin.q.weight.zero_()
    assert (twin(*x)[0] - ours(*x)[0]).abs().max() > 1e-3, "the copy has weights of its own"
    twin.load_state_dict(ours.state_dict())
    assert_same(twin(*x)[0], ours(*x)[0])


def test_it_compiles_and_exports():
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = unfused(made(batch_first=True))

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]

    network = Attends().eval()
    x, mask = torch.randn(BATCH, QUERIES, WIDTH, dtype=torch.float64), torch.ones(QUERIES, QUERIES).tril() == 0
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    assert_same(compiled(x, mask), network(x, mask))
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(network, (x, mask), dynamic_shapes={"x": {0: batch}, "mask": {}})
    more = torch.randn(BATCH + 4, QUERIES, WIDTH, dtype=torch.float64)
    assert_same(exported.module()(more, mask), network(more, mask))


def test_a_joint_weight_is_applied_to_each_input_once():
    layer = made(batch_first=True)
    ours = unfused(layer, joint_qkv=True)
    calls = []
    ours.qkv.register_forward_hook(lambda *_: calls.append(1))
    query, key, _ = inputs(layer)
    assert_same(ours(query, key, key)[0], layer(query, key, key)[0])
    assert len(calls) == 2


def test_it_is_a_layer_of_any_precision():
    ours = unfused(made(batch_first=True)).to(torch.bfloat16)
    x = torch.randn(BATCH, QUERIES, WIDTH, dtype=torch.bfloat16)
    assert ours(x, x, x)[0].dtype == torch.bfloat16
    assert isinstance(ours.to("meta"), UnfusedAttention)
    assert ours(x.to("meta"), x.to("meta"), x.to("meta"))[0].shape == x.shape
