"""Unfused window attention computes what torchvision's Swin V1 and V2 do, and its layers are called."""

from __future__ import annotations

import copy

import pytest
import torch
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2

from tests.decompositions.layers.attention_layers import WIDTH, assert_same, randomised, unfused

VERSIONS = pytest.mark.parametrize("version", [ShiftedWindowAttention, ShiftedWindowAttentionV2], ids=["V1", "V2"])
JOINT = pytest.mark.parametrize("joint_qkv", [False, True], ids=["separate", "joint"])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def made(version, shift=(2, 2), **options) -> torch.nn.Module:
    return randomised(version(WIDTH, [4, 4], list(shift), 2, **options).double())


@JOINT
@VERSIONS
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("size", [(8, 8), (10, 7), (4, 9), (3, 3)], ids=str)
@pytest.mark.parametrize("shift", [(0, 0), (2, 2), (1, 0)], ids=str)
def test_outputs_and_gradients_are_those_of_torchvision(shift, size, training, version, joint_qkv):
    layer = made(version, shift, attention_dropout=0.3, dropout=0.3).train(training)
    ours = unfused(layer, joint_qkv)
    assert ours.training == training
    x = torch.randn(2, *size, WIDTH, dtype=torch.float64, requires_grad=True)
    outputs, gradients = [], []
    for module in (ours, layer):
        torch.manual_seed(1)
        outputs.append(module(x))
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), x)[0])
    assert_same(*outputs)
    assert_same(*gradients, 1e-10)


@JOINT
@VERSIONS
def test_without_biases(version, joint_qkv):
    layer = made(version, qkv_bias=False, proj_bias=False).eval()
    x = torch.randn(2, 8, 8, WIDTH, dtype=torch.float64)
    assert_same(unfused(layer, joint_qkv)(x), layer(x))


@JOINT
@VERSIONS
def test_its_layers_are_called_and_its_state_is_kept(version, joint_qkv):
    layer = made(version).eval()
    ours = unfused(layer, joint_qkv)
    called = []
    for name, child in ours.named_children():
        child.register_forward_hook(lambda *_, name=name: called.append(name))
    x = torch.randn(1, 8, 8, WIDTH, dtype=torch.float64)
    ours(x)
    parts = ["qkv"] if joint_qkv else ["q", "k", "v"]
    assert called == [*parts, *(["cpb_mlp"] if version is ShiftedWindowAttentionV2 else []), "proj"]
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in layer.parameters())
    assert {name for name, _ in ours.named_buffers()} == {name for name, _ in layer.named_buffers()}
    twin = copy.deepcopy(ours)
    with torch.no_grad():
        twin.proj.weight.zero_()
    assert (twin(x) - ours(x)).abs().max() > 1e-3
    twin.load_state_dict(ours.state_dict())
    assert_same(twin(x), ours(x))
    assert "window_size=[4, 4], shift_size=[2, 2], num_heads=2" in repr(ours)


@JOINT
def test_the_bias_of_the_keys_takes_no_part_in_version_2(joint_qkv):
    ours = unfused(made(ShiftedWindowAttentionV2), joint_qkv)
    x = torch.randn(1, 8, 8, WIDTH, dtype=torch.float64)
    before = ours(x)
    bias, rows = (ours.qkv.bias, slice(WIDTH, 2 * WIDTH)) if joint_qkv else (ours.k.bias, slice(None))
    gradient = torch.autograd.grad(before.square().sum(), bias)[0]
    assert_same(gradient[rows], torch.zeros(WIDTH, dtype=torch.float64))
    with torch.no_grad():
        bias[rows] += 1
    assert_same(ours(x), before, 1e-9)


@VERSIONS
def test_it_exports_for_any_batch(version):
    ours = unfused(made(version)).eval()
    x = torch.randn(3, 8, 8, WIDTH, dtype=torch.float64)
    exported = torch.export.export(ours, (x,), dynamic_shapes={"x": {0: torch.export.Dim("batch", min=2)}})
    more = torch.randn(5, 8, 8, WIDTH, dtype=torch.float64)
    assert_same(exported.module()(more), ours(more))
