"""Networks with attention through `compress`: counts, states, files, copies, exports, and every format."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    ShiftedWindowAttention,
    SwinTransformer,
    SwinTransformerBlockV2,
)
from torchvision.models.vision_transformer import VisionTransformer

from decompositions import compress, initialise, load_network, materialize, save_network
from decompositions.metrics.gram import Gram
from decompositions.network.structure import restore
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker import Tucker
from evaluation.counts import count_macs

VIT = {"image_size": 16, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24,
       "num_classes": 5}  # fmt: skip
SWIN = {"patch_size": [2, 2], "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": [4, 4],
        "num_classes": 5}  # fmt: skip


def vit() -> nn.Module:
    return VisionTransformer(**VIT)


def swin() -> nn.Module:
    return SwinTransformer(**SWIN, stochastic_depth_prob=0.0)


def swin_v2() -> nn.Module:
    v2 = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}
    return SwinTransformer(**SWIN, stochastic_depth_prob=0.0, **v2)


def encoder() -> nn.Module:
    """Torch's own, of two layers."""
    layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Flatten(2), nn.Linear(256, 16), body, nn.Flatten(), nn.Linear(48, 5))


NETWORKS = {"vit": vit, "swin": swin, "swin v2": swin_v2, "encoder": encoder}
X = (3, 3, 16, 16)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomised(name: str) -> nn.Module:
    """A network none of whose parameters is zero: heads start there."""
    network = NETWORKS[name]()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


@pytest.mark.parametrize("joint_qkv", [False, True], ids=["separate", "joint"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_compressed_network_does_what_a_network_does(name, joint_qkv, tmp_path):
    network, x = randomised(name), torch.randn(X)
    small, report = compress(network, SVD(), ranks=3, example_input=x, joint_qkv=joint_qkv)
    ranks = {line.name.rpartition(".")[2]: line.rank for line in report.layers}
    parts = ["qkv"] if joint_qkv else ["q", "k", "v"]
    assert all(ranks[part] == 3 for part in [*parts, "proj" if "swin" in name else "out_proj"]), ranks
    assert all(line.reason for line in report.layers if line.rank is None)
    assert sum(p.numel() for p in network.parameters()) == report.dense_params
    assert sum(p.numel() for p in small.parameters()) == report.num_params
    assert count_macs(network, X[1:]) == report.dense_macs
    assert count_macs(small, X[1:]) == report.macs
    again = restore(NETWORKS[name](), report.structure).eval()
    again.load_state_dict(small.state_dict())
    with torch.no_grad():
        y = small(x)
        assert torch.equal(again(x), y) and torch.equal(copy.deepcopy(small)(x), y)
        dense = copy.deepcopy(small)
        for line in report.layers:
            if line.rank is not None:
                dense.set_submodule(line.name, dense.get_submodule(line.name).to_dense())
        torch.testing.assert_close(dense(x), y, rtol=1e-4, atol=1e-4)
    small.train()(x).square().sum().backward()
    idle = [name for name, p in small.named_parameters() if p.grad is None]
    assert not idle, idle


@pytest.mark.parametrize("name", NETWORKS)
def test_unfused_at_full_ranks_is_the_dense_network(name):
    network, x = randomised(name).double(), torch.randn(X, dtype=torch.float64)
    patterns = ["*.proj" if "swin" in name else "*.out_proj"]
    small, report = compress(network, SVD(), ranks=1, example_input=x, layers=patterns)
    for layer in [line.name for line in report.layers if line.rank is not None]:
        exact = small.get_submodule(layer).to_dense()
        exact.load_state_dict(network.get_submodule(layer).state_dict())
        small.set_submodule(layer, exact)
    with torch.no_grad():
        torch.testing.assert_close(small(x), network(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "builder"), [("vit", "vision_transformer.VisionTransformer"), ("swin", "swin_transformer.SwinTransformer")]
)
def test_files(name, builder, tmp_path):
    arguments = {"vit": VIT, "swin": SWIN}[name]
    small, report = compress(randomised(name), SVD(), ranks=3, example_input=torch.randn(X))
    save_network(tmp_path / "small.pt", small, {"target": f"torchvision.models.{builder}", "arguments": arguments},
                 report.structure)  # fmt: skip
    x = torch.randn(X)
    with torch.no_grad():
        assert torch.equal(load_network(tmp_path / "small.pt")(x), small(x))


@pytest.mark.parametrize("format", [TT(2), Tucker()], ids=lambda format: type(format).__name__)
def test_other_formats(format):
    small, report = compress(randomised("vit"), format, ranks=2, example_input=torch.randn(X))
    lines = {line.name: line for line in report.layers}
    assert lines["encoder.layers.encoder_layer_0.self_attention.q"].rank is not None
    assert small(torch.randn(X)).shape == (3, 5)
    assert "encoder.layers.encoder_layer_0.self_attention.q" in initialise(small)
    assert small(torch.randn(X)).isfinite().all()


def test_a_metric_measures_the_inputs_of_each_part():
    network, x = randomised("vit"), torch.randn(16, *X[1:])
    small, _ = compress(network, SVD(), ranks=3, example_input=x, metric=Gram(), calibration=[x])
    assert small(x).shape == (16, 5)
    plain, _ = compress(network, SVD(), ranks=3, example_input=x)
    with torch.no_grad():
        errors = [float((each(x) - network(x)).square().mean()) for each in (small, plain)]
    assert errors[0] < errors[1]


def test_a_second_call_goes_on_where_the_first_ended():
    network, x = randomised("vit"), torch.randn(X)
    part = "encoder.layers.encoder_layer_0.self_attention"
    first, _ = compress(network, SVD(), ranks=3, example_input=x, layers=[f"{part}.q"])
    second, report = compress(first, SVD(), ranks=3, example_input=x, layers=[f"{part}.k", "*layer_1.mlp*"])
    assert report.structure[part] == {"opened": "separate"}
    assert {f"{part}.q", f"{part}.k"} <= set(report.structure)
    again = restore(vit(), report.structure).eval()
    again.load_state_dict(second.state_dict())
    assert torch.equal(again(x), second(x))


def test_factors_may_turn_dense_where_that_is_faster():
    small, _ = compress(randomised("vit"), SVD(), ranks=3, example_input=torch.randn(X), layers=["*layer_0*.q"])
    faster, merges = materialize(small, torch.randn(X))
    assert any(merge.name.endswith("self_attention.q") and merge.reason is None for merge in merges)
    torch.testing.assert_close(faster(torch.ones(X)), small(torch.ones(X)), rtol=1e-3, atol=1e-3)


def test_onnx_has_the_same_outputs():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.windows = ShiftedWindowAttention(8, [2, 2], [1, 1], 2)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.windows(x).flatten(1, 2)
            return self.attention(x, x, x, need_weights=False)[0]

    onnxruntime = pytest.importorskip("onnxruntime")
    x = torch.randn(2, 4, 4, 8)
    small, _ = compress(Both().eval(), SVD(), ranks=3, example_input=x)
    file = io.BytesIO()
    batch = torch.export.Dim("batch", min=2)
    torch.onnx.export(small, (x,), file, dynamo=True, verbose=False, dynamic_shapes={"x": {0: batch}})
    session = onnxruntime.InferenceSession(file.getvalue())
    x = torch.randn(5, 4, 4, 8)
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), small(x).detach(), rtol=1e-3, atol=1e-4)
