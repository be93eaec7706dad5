"""Unfused recurrent layers in half precision and on a GPU, beside torch's own."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from tests.decompositions.layers.recurrent_layers import BATCH, IN, KINDS, TIME, assert_same, pair, tensors


@pytest.mark.parametrize("stepwise", [False, True], ids=["fused", "stepwise"])
@KINDS
def test_autocast(kind, stepwise):
    torch.manual_seed(0)
    layer, unfused = pair(kind, stepwise, torch.float32, num_layers=2, bidirectional=True)
    x = torch.randn(TIME, BATCH, IN)
    with torch.autocast("cpu", torch.bfloat16):
        try:
            layer(x)
        except RuntimeError as error:  # torch's own layer, which is what ours is compared with
            if "could not create a primitive" not in str(error):
                raise
            pytest.skip("oneDNN has no recurrent layer in bfloat16 for this CPU")
        for inputs in (x, pack_padded_sequence(x, [6, 4, 3, 1])):
            for ours, theirs in zip(tensors(unfused(inputs)), tensors(layer(inputs)), strict=True):
                torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.05, atol=0.02)
    sum(t.float().sum() for t in tensors(unfused(x))).backward()
    assert all(p.grad.isfinite().all() for p in unfused.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@KINDS
def test_weights_lie_together_on_a_gpu(kind):
    """Or torch warns, and copies them at every pass."""
    layer, unfused = pair(kind, dtype=torch.float32, num_layers=2, bidirectional=True)
    unfused, layer = unfused.cuda(), layer.cuda()
    x = torch.randn(TIME, BATCH, IN, device="cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(unfused(x), layer(x), 1e-5)
