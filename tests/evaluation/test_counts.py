"""The counter against PyTorch's own FLOP counter and against hand-made numbers; unknown operators raise."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import mobilenet_v2, resnet18

from decompositions.network.structure import replace_layers
from decompositions.svd import SVD
from evaluation.counts import count, count_macs, count_operators
from networks.lenet import lenet5, lenet300


def flops(network, *shape):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, *shape))
    return counter.get_total_flops()


@pytest.mark.parametrize("make", [resnet18, mobilenet_v2])
def test_equals_torchs_counter_on_real_networks(make):
    with torch.device("meta"):
        network = make(weights=None).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, 64, 64))
    assert count_macs(network, (3, 64, 64)) == counter.get_total_flops() // 2 > 0


def test_published_counts():
    assert count_macs(lenet300([1, 28, 28], 10), (1, 28, 28)) == 266_200
    counts = count(lenet5([1, 28, 28], 10), (1, 28, 28))
    assert (counts.num_params, counts.macs) == (431_080, 2_293_000)
    assert counts.num_bytes >= 4 * counts.num_params


def test_compressed_network_is_counted_like_the_dense_one():
    network = lenet5([1, 28, 28], 10)
    weights = {name: network.get_submodule(name).weight.detach() for name in ("conv2", "fc1")}
    factors = {n: SVD().analyse(weights[n]).decompose(r) for n, r in {"conv2": 5, "fc1": 9}.items()}
    compressed = replace_layers(network, SVD(), factors)
    expected = 2_293_000 - 64 * 50 * 500 - 500 * 800 + 64 * 5 * (50 + 500) + 9 * (800 + 500)
    assert count_macs(compressed, (1, 28, 28)) == expected == flops(compressed, 1, 28, 28) // 2


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.GELU(), nn.GroupNorm(3, 3), nn.Softmax(1)]
)
def test_layers_without_products_count_nothing(layer):
    assert count_macs(layer, (3, 8, 8)) == 0


class Eigen(nn.Module):
    def forward(self, x):
        return torch.linalg.eigvalsh(x @ x.mT)


def test_an_operator_without_a_formula_counts_as_nothing_and_is_named():
    found = count_operators(Eigen(), (3, 3))
    assert (found.macs, found.uncounted) == (27, ("aten._linalg_eigh",))
    assert count(Eigen(), (3, 3)).uncounted == found.uncounted


def rows(y):
    return y.flatten(2).mT


MULTIPLY_NOTHING = {
    "prelu": nn.PReLU(8), "instance norm": nn.InstanceNorm2d(8), "rms norm": nn.RMSNorm([6, 6]), "glu": nn.GLU(1),
    "local response": nn.LocalResponseNorm(3), "log sigmoid": nn.LogSigmoid(), "rrelu": nn.RReLU(),
    "fold": lambda y: nn.functional.fold(nn.functional.unfold(y, 3), (6, 6), 3), "shuffle": nn.PixelUnshuffle(2),
    "bicubic": nn.Upsample(scale_factor=2, mode="bicubic"), "exact": nn.Upsample(scale_factor=2, mode="nearest-exact"),
    "lp pool": nn.LPPool2d(2, 2), "adaptive max": nn.AdaptiveMaxPool2d(2), "fractional": nn.FractionalMaxPool2d(2, 3),
    "grid": lambda y: nn.functional.grid_sample(y, torch.zeros(1, 4, 4, 2, device=y.device), align_corners=False),
    "indexing": lambda y: y[:, [0, 2]], "values": lambda y: y[y > 0], "sort": lambda y: y.sort(-1)[0],
    "argsort": lambda y: torch.take_along_dim(y, y.argsort(1), 1), "topk": lambda y: y.topk(2, -1)[0],
    "median": lambda y: y.median(-1)[0], "kth": lambda y: y.kthvalue(2, -1)[0], "norm": lambda y: y.norm(dim=1),
    "normalize": nn.functional.normalize, "repeat": lambda y: y.repeat(1, 2, 1, 1), "std": lambda y: y.std((2, 3)),
    "scatter": lambda y: torch.zeros_like(y).scatter_add(1, torch.zeros_like(y, dtype=torch.long), y),
    "masked fill": lambda y: y.masked_fill(y > 0, 0.0), "where": lambda y: torch.where(y > 0, y, 0.1 * y),
    "products": lambda y: y.cumprod(1), "logsumexp": lambda y: y.logsumexp(1), "triangle": lambda y: y.tril(),
    "one hot": lambda y: nn.functional.one_hot((y > 0).long(), 2), "buckets": lambda y: torch.bucketize(y, y[0, 0, 0]),
    "unique": lambda y: y.unique(), "histogram": lambda y: y.histc(4), "noise": lambda y: y + torch.randn_like(y),
    "decides": lambda y: y if y.mean() > 0 else -y, "constant": lambda y: y + torch.ones(6),
    "unpool": lambda y: nn.functional.max_unpool2d(*nn.functional.max_pool2d(y, 2, return_indices=True), 2),
}  # fmt: skip
MULTIPLY = {
    "einsum": (lambda y: torch.einsum("bchw,bdhw->bcd", y, y), 8 * 8 * 36),
    "attention": (lambda y: nn.functional.scaled_dot_product_attention(rows(y), rows(y), rows(y)), 2 * 36 * 36 * 8),
    "masked": (
        lambda y: nn.functional.scaled_dot_product_attention(
            rows(y), rows(y), rows(y), attn_mask=torch.ones(36, 36, device=y.device)
        ),
        2 * 36 * 36 * 8,
    ),
    "distances": (lambda y: torch.cdist(rows(y), rows(y)), 36 * 36 * 8),
    "vector": (lambda y: y[0, 0] @ y[0, 0, 0], 36), "dot": (lambda y: y[0, 0, 0] @ y[0, 0, 1], 6),
    "add to vector": (lambda y: torch.addmv(y[0, 0, 0], y[0, 0], y[0, 0, 1]), 36),
    "transposed": (nn.ConvTranspose2d(8, 4, 2), 36 * 8 * 4 * 4), "bilinear": (nn.Bilinear(6, 6, 3), 48 * 3 * 36),
    "lstm": (nn.Sequential(nn.Flatten(2), nn.LSTM(36, 5, batch_first=True)), 8 * 20 * (36 + 5)),
    "encoder": (
        nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(36, 4, 16, batch_first=True)),
        8 * (4 * 36 * 36 + 2 * 36 * 16 + 2 * 36 * 8),
    ),
}  # fmt: skip


class AfterConvolution(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.conv, self.what = nn.Conv2d(3, 8, 3), what

    def forward(self, x):
        x = self.conv(x)
        return self.what(x, x) if isinstance(self.what, nn.Bilinear) else self.what(x)


@pytest.mark.parametrize("name", MULTIPLY_NOTHING)
def test_what_multiplies_nothing_is_known(name):
    found = count_operators(AfterConvolution(MULTIPLY_NOTHING[name]), (3, 8, 8))
    assert (found.macs, found.uncounted) == (9 * 3 * 8 * 36, ())


class Decides(nn.Module):
    def forward(self, x):
        x = x[0] if isinstance(x, tuple) else x
        return x if float(x.sum()) > 0 else -x


@pytest.mark.parametrize("name", MULTIPLY)
def test_what_multiplies_is_counted(name):
    what, expected = MULTIPLY[name]
    found = count_operators(AfterConvolution(what), (3, 8, 8))
    assert (found.macs - 9 * 3 * 8 * 36, found.uncounted) == (expected, ())
    really = count_operators(nn.Sequential(AfterConvolution(what), Decides()), (3, 8, 8))
    assert really == found, "with values, where other kernels run, as on the meta device"


def test_maps_with_the_channels_innermost_are_counted():
    """Their average over all pixels is another operator inside."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return nn.functional.adaptive_avg_pool2d(self.conv(x).to(memory_format=torch.channels_last), 1)

    assert count_macs(Pooled(), (3, 5, 5)) == 9 * 3 * 4 * 9
