"""Attention of torch and of torchvision, unfused, with factors of full rank in the place of its layers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from decompositions.layers.unfuse_attention import unfuse_attention

BATCH, QUERIES, KEYS, WIDTH, HEADS = 3, 5, 4, 8, 2


def unfused(layer: nn.Module, joint_qkv: bool = False) -> nn.Module:
    """The unfused copy of a layer."""
    holder = nn.ModuleList([copy.deepcopy(layer)])
    unfuse_attention(holder, joint_qkv=joint_qkv)
    assert holder[0] is not layer and type(holder[0]) is not type(layer)
    return holder[0]


def randomised(layer: nn.Module) -> nn.Module:
    """Give every parameter numbers, biases among them, which start at 0."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return layer


def assert_same(ours: Tensor | None, theirs: Tensor | None, tolerance: float = 1e-12) -> None:
    assert (ours is None) == (theirs is None)
    if ours is not None:
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
