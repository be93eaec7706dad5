"""Methods reach the parts of attention, and those without a format leave it as it is, with the reason."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torchvision.models import SwinTransformer

from decompositions.core.site import dense_sites
from decompositions.rank_search.fixed import Fixed
from decompositions.svd import SVD
from lightning_modules.core.dry_run import dry_run
from lightning_modules.core.method import prepare_search
from lightning_modules.direct import Direct
from networks.mlp import mlp
from networks.vit import vit

SHAPE = [3, 16, 16]
SCHEDULE = SimpleNamespace(distillation=SimpleNamespace(weight=0.0), fine_tune=SimpleNamespace(epochs=1))


@pytest.mark.parametrize("joint_qkv", [False, True], ids=["separate", "joint"])
def test_a_method_reaches_the_parts_of_attention(joint_qkv):
    method = Direct(SVD(), Fixed(2), joint_qkv=joint_qkv)
    network = vit(SHAPE, 4, patch=8, depth=1, width=12, hidden=16)
    dry_run(method, network, SHAPE)
    search = prepare_search(method, vit(SHAPE, 4, patch=8, depth=1, width=12, hidden=16), SHAPE)
    attention = "encoder.layers.encoder_layer_0.self_attention"
    assert search.unfused == {attention: "joint" if joint_qkv else "separate"}
    parts = ["qkv"] if joint_qkv else ["q", "k", "v"]
    assert {f"{attention}.{part}" for part in [*parts, "out_proj"]} <= set(search.sites)


@pytest.mark.parametrize("option", [{"correct_bias": True}, {"target": "outputs"}], ids=["correct_bias", "target"])
def test_joint_qkv_is_found_where_it_was_unfused_before(option):
    method = Direct(SVD(), Fixed(2), joint_qkv=True, **option)
    method.check(vit(SHAPE, 4, patch=8, depth=1, width=12, hidden=16), SHAPE, SCHEDULE)


def test_joint_qkv_of_a_network_without_attention_is_refused():
    with pytest.raises(ValueError, match="joint_qkv: no attention"):
        dry_run(Direct(SVD(), Fixed(2), joint_qkv=True), mlp(SHAPE, 4, hidden=[8]), SHAPE)


def test_methods_without_a_format_leave_attention_as_it_is():
    found = dense_sites(vit(SHAPE, 4, patch=8, depth=1, width=12, hidden=16), SHAPE, ["*"])
    assert found.skipped == {"encoder.layers.encoder_layer_0.self_attention": "attention stays as it is"}
    found = dense_sites(SwinTransformer([4, 4], 8, [2], [2], [4, 4], num_classes=4), SHAPE, ["*"])
    parts = [f"features.1.{block}.attn.{part}" for block in (0, 1) for part in ("qkv", "proj")]
    assert found.skipped == dict.fromkeys(parts, "attention stays as it is")
