"""Compressed networks as modules like any other: torch's tools, ONNX, half precision, torchvision's models."""

from __future__ import annotations

import copy

import onnxruntime
import pytest
import torch
import torchvision

from decompositions import compress
from decompositions.cp import CP
from decompositions.ntt import NTT
from decompositions.spatial_svd import SpatialSVD
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2
from tests.decompositions.network.test_compress import FORMATS, NAMES, Small, small


@pytest.mark.parametrize("format", FORMATS, ids=NAMES)
def test_results_are_modules_as_any_other(format, tmp_path):
    """deepcopy, state round trip, training, autocast, torch.compile, torch.export."""
    _, compressed, _ = small(format)
    x = torch.randn(2, 3, 16, 16)
    expected = compressed(x)
    assert torch.equal(copy.deepcopy(compressed)(x), expected)
    torch.save(compressed.state_dict(), tmp_path / "state.pt")
    other = small(format)[1]
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert torch.equal(other(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(compressed(x).float(), expected, atol=0.1)
    assert torch.allclose(torch.compile(compressed, backend="aot_eager")(x), expected, atol=1e-5)
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(compressed, (x,), dynamic_shapes={"x": {0: batch}}).module()
    for rows in (2, 5):
        images = torch.randn(rows, 3, 16, 16)
        assert torch.allclose(exported(images), compressed(images), atol=1e-5)
    compressed.train()(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in compressed.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS, ids=NAMES)
def test_onnx_runtime_computes_the_same(format, tmp_path):
    _, compressed, _ = small(format)
    batch = torch.export.Dim("batch", min=2, max=64)
    path = tmp_path / "network.onnx"
    x = torch.randn(2, 3, 16, 16)
    torch.onnx.export(compressed, (x,), path, dynamo=True, dynamic_shapes={"x": {0: batch}}, verbose=False)
    session = onnxruntime.InferenceSession(path)
    for rows in (2, 5):
        images = torch.randn(rows, 3, 16, 16)
        [got] = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        assert torch.allclose(torch.from_numpy(got), compressed(images), atol=1e-4)


@pytest.mark.parametrize("format", FORMATS, ids=NAMES)
def test_half_precision_and_channels_last(format):
    """Peers refuse bfloat16 layers and lose the memory format."""
    _, compressed, _ = small(format)
    x = torch.randn(2, 3, 16, 16)
    expected = compressed(x)
    last = compressed.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert torch.allclose(last, expected, atol=1e-4)
    half = copy.deepcopy(compressed).to(torch.bfloat16)(x.to(torch.bfloat16))
    assert torch.allclose(half.float(), expected, atol=0.1)
    torch.manual_seed(0)
    again, _ = compress(Small().eval().to(torch.bfloat16), format, ranks=3, example_input=x.to(torch.bfloat16))
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "shape", "format", "layers"),
    [
        (torchvision.models.resnet18, (1, 3, 64, 64), Tucker2(), ["*"]),
        (torchvision.models.resnet50, (1, 3, 64, 64), SpatialSVD(), ["layer[12]*", "fc"]),
        (torchvision.models.mobilenet_v2, (1, 3, 64, 64), SVD(), ["*"]),
        (torchvision.models.video.r3d_18, (1, 3, 8, 32, 32), TT(), ["*"]),
        (torchvision.models.alexnet, (1, 3, 64, 64), SVD(), ["features*", "classifier.6"]),
        (torchvision.models.vgg16, (1, 3, 64, 64), Tucker2(), ["features*", "classifier.6"]),
        (torchvision.models.resnet18, (1, 3, 64, 64), CP(sweeps=2), ["layer1*"]),
        (torchvision.models.resnet18, (1, 3, 64, 64), NTT(norm="batch"), ["*"]),
    ],
    ids=["resnet18", "resnet50", "mobilenet_v2", "r3d_18", "alexnet", "vgg16", "resnet18-cp", "resnet18-ntt"],
)
def test_torchvision_models(make, shape, format, layers):
    model = make(weights=None).eval()
    x = torch.randn(shape)
    compressed, report = compress(model, format, ranks=12, example_input=x, layers=layers)
    assert report.num_params == sum(p.numel() for p in compressed.parameters()) < report.dense_params
    assert compressed(x).shape == (1, 1000 if "3d" not in make.__name__ else 400)
    grouped = {n for n, m in model.named_modules() if getattr(m, "groups", 1) > 1}
    assert {row.name for row in report.layers if "groups=" in (row.reason or "")} == grouped, "left dense by name"
