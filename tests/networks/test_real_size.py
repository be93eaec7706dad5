"""The published networks: their parameters and multiply-adds, what they take, and what they refuse, in one line."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torchvision import models

from decompositions import compress, load_network
from decompositions.tt import TT
from evaluation.counts import count_macs
from networks.c3d import c3d
from networks.custom import custom
from networks.garipov import garipov_conv, garipov_conv_fc
from networks.nin import nin
from networks.pretrained import torchvision_network
from networks.recurrent import recurrent
from networks.vgg import vgg
from networks.vit import vit
from networks.wide_resnet import wide_resnet

RGB, IMAGE, CLIP = [3, 32, 32], [3, 224, 224], [3, 16, 112, 112]
C3D_WIDTHS = [[64], [128], [256, 256], [512, 512], [512, 512]]


def num_params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("make", "params", "million_macs"),
    [
        (garipov_conv, 557_888, None),  # published as 557 k
        (garipov_conv_fc, 13_934_538, None),  # 13.93 M
        (lambda *a: vgg(*a, 16), 15_253_578, 313.7),  # 15.25 M
        (lambda *a: vgg(*a, 19), 20_565_834, None),
        (nin, 969_822, 222.5),
        (lambda *a: wide_resnet(*a, 16, 8), 10_961_370, None),  # 11.0 M
    ],
    ids=["garipov_conv", "garipov_conv_fc", "vgg16", "vgg19", "nin", "wrn_16_8"],
)
def test_published_counts_on_cifar(make, params, million_macs):
    with torch.device("meta"):
        network = make(RGB, 10)
    assert num_params(network) == params
    if million_macs is not None:
        assert round(count_macs(network, RGB) / 1e6, 1) == million_macs


@pytest.mark.parametrize(
    ("name", "shape", "num_classes"),
    [(n, IMAGE, 1000) for n in ("alexnet", "vgg16", "resnet18", "resnet34", "resnet50", "mobilenet_v2")]
    + [(n, IMAGE, 1000) for n in ("efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t")]
    + [("r3d_18", CLIP, 400)],
)
def test_counts_are_those_that_torchvision_publishes(name, shape, num_classes):
    with torch.device("meta"):
        network = torchvision_network(shape, num_classes, name)
    meta = models.get_model_weights(name).DEFAULT.meta
    assert num_params(network) == meta["num_params"]
    assert count_macs(network, shape) / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)


def test_a_small_vision_transformer():
    with torch.device("meta"):
        network = vit(RGB, 10)
    assert (num_params(network), round(count_macs(network, RGB) / 1e6, 1)) == (2_693_578, 182.8)
    assert vit([1, 28, 28], 7, depth=1, width=12)(torch.randn(2, 1, 28, 28)).shape == (2, 7)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: vit([3, 32, 24], 10), r"whole patches of 4×4 pixels, got samples of \[3, 32, 24\]"),
        (lambda: vit([3, 32, 32], 10, patch=5), "whole patches of 5×5"),
        (lambda: vit([3, 32, 32], 10, width=100), "a multiple of network.heads=3, got 100"),
        (lambda: torchvision_network([3, 32, 32], 10, "vit_b_16"), "takes images of 224×224 pixels"),
    ],
    ids=["no square", "patches", "heads", "torchvision's"],
)
def test_images_and_widths_that_no_vision_transformer_takes(make, said):
    with torch.device("meta"), pytest.raises(ValueError, match=said):
        make()


def test_published_weights_of_an_lstm_on_ucf11():
    with torch.device("meta"):
        network = recurrent([6, 3, 120, 160], 11, "lstm")
    assert network.rnn.weight_ih_l0.numel() == 58_982_400
    weights = network.rnn.weight_ih_l0.numel() + network.rnn.weight_hh_l0.numel()
    assert f"{weights / 1e6:.2f}" == "59.24"
    assert count_macs(network, [6, 3, 120, 160]) == 6 * weights + 256 * 11


def test_a_train_of_the_published_size_takes_the_place_of_the_input_weights():
    """57600 = 8·20·20·18 inputs, 1024 = 16·4·4·4 gates: 3,360 weights at rank 4 [YKT17]."""
    with torch.device("meta"):
        weight = recurrent([6, 3, 120, 160], 11, "lstm").rnn.weight_ih_l0
    train = TT(modes={"57600": [8, 20, 20, 18], "1024": [16, 4, 4, 4]})
    assert train.zeros(weight, (4, 4, 4)).num_params == 3_360


def test_an_lstm_is_compressed_and_still_masks():
    torch.manual_seed(0)
    network = recurrent([4, 3, 8, 8], 5, "lstm", hidden=16).eval()
    example = torch.randn(2, 4, 3, 8, 8)
    example[1, 2:] = 0
    small, report = compress(network, TT(), ranks=8, layers=["rnn.ih_l0"], example_input=example)
    (layer,) = [layer for layer in report.layers if layer.name == "rnn.ih_l0"]
    assert layer.rank is not None, layer
    assert num_params(small) < num_params(network)
    alone = small(example[1:, :2])
    assert torch.allclose(small(example)[1:], alone, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_padding_is_not_read_out(cell):
    torch.manual_seed(0)
    network = recurrent([5, 1, 2, 3], 4, cell, hidden=6).eval()
    whole = torch.randn(3, 5, 1, 2, 3)
    padded = whole.clone()
    padded[0, 3:], padded[1, 1:] = 0, 0
    padded[2, 2] = 0  # a black frame in the middle is a frame
    found = network(padded)
    assert torch.allclose(found[0], network(whole[:1, :3])[0], atol=1e-6)
    assert torch.allclose(found[1], network(whole[1:2, :1])[0], atol=1e-6)
    assert torch.allclose(found[2], network(padded[2:])[0], atol=1e-6)
    assert not torch.allclose(found, network(whole), atol=1e-3)
    assert network(torch.zeros(2, 5, 2, 3)).shape == (2, 4)


def test_c3d_takes_clips_of_any_length_and_counts_as_the_paper():
    for shape in ([3, 6, 120, 160], [3, 1, 32, 33], CLIP):
        with torch.device("meta"):
            network = c3d(shape, 11, C3D_WIDTHS, [4096, 4096])
            assert network(torch.empty(2, *shape)).shape == (2, 11)
    with torch.device("meta"):
        convolutions = [m for m in c3d(CLIP, 487, C3D_WIDTHS, []).modules() if isinstance(m, nn.Conv3d)]
    assert [m.out_channels for m in convolutions] == [64, 128, 256, 256, 512, 512, 512, 512]
    assert all(m.kernel_size == (3, 3, 3) for m in convolutions)


def test_vgg_on_other_sizes_and_dropout():
    assert vgg([1, 64, 32], 7, 16)(torch.randn(2, 1, 64, 32)).shape == (2, 7)
    assert vgg(RGB, 10, 16, dropout=0.1).dropout1.p == 0.1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: vgg([3, 31, 32], 10, 16), "at least 32×32 pixels, got 31×32"),
        (lambda: wide_resnet(RGB, 10, 17, 2), r"a depth of 6n \+ 4"),
        (lambda: recurrent([9], 10, "lstm"), r"reads sequences \(frame, …\), got samples of \[9\]"),
        (lambda: recurrent([1, 8, 8], 10, "gru"), r"got samples of \[1, 8, 8\]"),
        (lambda: c3d(RGB, 10, [[4]], []), r"reads clips .* got samples of \[3, 32, 32\]"),
        (lambda: c3d([3, 4, 7, 9], 10, [[4]] * 3, []), "at least 8 pixels a side, got 7×9"),
        (lambda: torchvision_network(IMAGE, 10, "resnet19"), "torchvision has no classifier 'resnet19'"),
        (lambda: torchvision_network([1, 28, 28], 10, "resnet18"), r"takes samples of \(3, height, width\)"),
        (lambda: torchvision_network(IMAGE, 10, "r3d_18"), r"takes samples of \(3, frame, height, width\)"),
        (lambda: torchvision_network(IMAGE, 10, "resnet18", "NO_V1"), "no file .* and resnet18 has no weights"),
        (lambda: custom(RGB, 10, "no.such.thing", {}), "'no.such.thing' cannot be imported"),
        (lambda: custom(RGB, 10, "networks.resnet.nothing", {}), "cannot be imported"),
        (lambda: custom(RGB, 10, "nodots", {}), "cannot be imported"),
        (lambda: custom(RGB, 10, "networks.resnet.resnet", {}), "does not take them"),
        (lambda: custom(RGB, 10, "networks.resnet.resnet", {"depht": 20}), "does not take them"),
        (lambda: custom(RGB, 10, "builtins.len", {}), "'builtins.len' is of Python's own library, and is not called"),
        (lambda: custom(RGB, 10, "runtime.messages.printable", {"text": "a"}), "return an nn.Module, got str"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make, said):
    with pytest.raises(ValueError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_custom_networks_get_what_they_take():
    assert len(custom(RGB, 10, "networks.resnet.resnet", {"depth": 8})) > 3
    network = custom(RGB, 7, "torchvision.models.resnet18", {"num_classes": 7})
    assert network.fc.out_features == 7


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A cache as torchvision fills it, and its weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network = models.squeezenet1_1()
    torch.save(network.state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    return network, folder


def test_weights_come_from_a_file_or_the_cache_and_are_never_fetched(fetched, tmp_path):
    network, folder = fetched
    expected = network.state_dict()
    for weights in ("IMAGENET1K_V1", str(folder / "squeezenet1_1-b8a52dc0.pth")):
        found = torchvision_network(IMAGE, 1000, "squeezenet1_1", weights).state_dict()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    with pytest.raises(ValueError, match=r"expected 5 classes, got 1000 classes; network.new_head=true starts it"):
        torchvision_network(IMAGE, 5, "squeezenet1_1", "IMAGENET1K_V1")
    other = torchvision_network(IMAGE, 5, "squeezenet1_1", "IMAGENET1K_V1", new_head=True)
    assert other.classifier[1].weight.shape[0] == 5
    assert torch.equal(other.features[0].weight, network.features[0].weight)
    with pytest.raises(ValueError, match=r"is not there; fetch it from https://.*pth, nothing is fetched here"):
        torchvision_network(IMAGE, 1000, "squeezenet1_0", "IMAGENET1K_V1")
    with pytest.raises(ValueError, match="of another network: "):
        torchvision_network(IMAGE, 1000, "resnet18", str(folder / "squeezenet1_1-b8a52dc0.pth"))
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, said in (("bad.pth", "cannot be read"), ("list.pth", "holds no state_dict")):
        with pytest.raises(ValueError, match=said) as caught:
            torchvision_network(IMAGE, 1000, "squeezenet1_1", str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_published_weights_are_read_as_torchvision_reads_them(tmp_path):
    """Densenets' files have older names; GoogLeNet's weights were made for another normalisation of the input."""
    dense = models.densenet121()
    renamed = {re.sub(r"\.(norm|conv)([12])\.", r".\1.\2.", key): v for key, v in dense.state_dict().items()}
    assert renamed.keys() != dense.state_dict().keys()
    torch.save(renamed, tmp_path / "dense.pth")
    found = torchvision_network(IMAGE, 1000, "densenet121", str(tmp_path / "dense.pth")).state_dict()
    assert all(torch.equal(found[key], value) for key, value in dense.state_dict().items())
    assert not torchvision_network(IMAGE, 1000, "googlenet").transform_input


def test_googlenets_own_weights_come_with_their_moments(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    name = models.GoogLeNet_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    torch.save(
        models.googlenet(init_weights=False, aux_logits=False).state_dict(), tmp_path / "hub" / "checkpoints" / name
    )
    assert torchvision_network(IMAGE, 1000, "googlenet", "IMAGENET1K_V1").transform_input


def test_a_point_starts_from_weights_and_its_files_do_not_need_them(make_point, fetched):
    """No epoch of the reference: the weights are the reference, and the network's file stands alone."""
    from orchestration.run.run_point import run_point

    network, folder = fetched
    overrides = ["network=torchvision", "network.name=squeezenet1_1", "network.weights=IMAGENET1K_V1", "method=svd"]
    data = ["dataset=synthetic", "dataset.shape=[3,32,32]", "dataset.num_train=20", "dataset.num_validation=5"]
    small = [
        "network.new_head=true",
        "dataset.num_test=5",
        "latency_batch_size=2",
        "rank.share=0.5",
        "schedule.fine_tune.epochs=0",
    ]
    point = make_point(*overrides, *data, *small, "schedule.reference.epochs=0")
    result = run_point(point)
    assert result.status == "ok", result.status
    assert result.reference.epochs == 0
    (folder / "squeezenet1_1-b8a52dc0.pth").unlink()
    (reference,) = (point.results_dir / "references").rglob("*.pt")
    assert torch.equal(load_network(reference).features[0].weight, network.features[0].weight)
    assert load_network(point.directory / "network.pt")(torch.randn(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize(
    "make",
    [
        lambda: garipov_conv(RGB, 10),
        lambda: garipov_conv_fc(RGB, 10),
        lambda: nin(RGB, 10),
        lambda: wide_resnet(RGB, 10, 10, 1),
        lambda: vgg(RGB, 10, 16),
        lambda: c3d([3, 4, 16, 16], 5, [[8], [8]], [16]),
    ],
)
def test_weights_start_at_the_variance_of_he(make):
    torch.manual_seed(0)
    for module in make().modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear) and module.weight.numel() > 2000:
            assert float(module.weight.detach().var()) == pytest.approx(2 / module.weight[0].numel(), rel=0.25)
