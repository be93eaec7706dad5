"""One call on models of other people: reports that are true, and results that every tool of torch takes."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import nn

from decompositions import compress
from decompositions.compress import CompressionReport
from decompositions.rank_search.energy import Energy
from decompositions.spatial_svd import SpatialSVD
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2
from evaluation.counts import count_macs

FORMATS = [SVD(), SpatialSVD(), Tucker2(), TT()]
NAMES = ["svd", "spatial_svd", "tucker2", "tt"]


class Small(nn.Module):
    """Strided, dilated and grouped convolutions, a skip connection, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.body = nn.Conv2d(16, 16, 3, padding=2, dilation=2, padding_mode="circular")
        self.head = nn.Linear(16, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + torch.relu(self.body(self.depthwise(x)))
        return self.head(x.mean((2, 3)))


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
    ],
)
def test_what_cannot_be_done_is_said(options, said):
    with pytest.raises(ValueError, match=said):
        small(**options)


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
@pytest.mark.parametrize(
    ("make", "shape", "format", "layers"),
    [
        (torchvision.models.resnet18, (1, 3, 64, 64), Tucker2(), ["*"]),
        (torchvision.models.resnet50, (1, 3, 64, 64), SpatialSVD(), ["layer[12]*", "fc"]),
        (torchvision.models.mobilenet_v2, (1, 3, 64, 64), SVD(), ["*"]),
        (torchvision.models.video.r3d_18, (1, 3, 8, 32, 32), TT(), ["*"]),
        (torchvision.models.alexnet, (1, 3, 64, 64), SVD(), ["features*", "classifier.6"]),
    ],
    ids=["resnet18", "resnet50", "mobilenet_v2", "r3d_18", "alexnet"],
)
def test_torchvision_models(make, shape, format, layers):
    model = make(weights=None).eval()
    x = torch.randn(shape)
    compressed, report = compress(model, format, ranks=12, example_input=x, layers=layers)
    assert report.num_params == sum(p.numel() for p in compressed.parameters()) < report.dense_params
    assert compressed(x).shape == (1, 1000 if "3d" not in make.__name__ else 400)
    grouped = {n for n, m in model.named_modules() if getattr(m, "groups", 1) > 1}
    assert {row.name for row in report.layers if "groups=" in (row.reason or "")} == grouped, "left dense by name"
