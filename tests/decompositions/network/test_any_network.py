"""Networks that people bring: with values in their passes, attention, computed weights, lazy layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from decompositions import compress
from decompositions.metrics.gram import Gram
from decompositions.network.materialize import materialize
from decompositions.svd import SVD


class Deciding(nn.Module):
    """It makes a tensor on the CPU and decides by values: no pass without numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x) + torch.ones(8)
        return y if float(y.sum()) > 0 else -y


def test_a_network_that_decides_by_values_gets_a_real_pass():
    network, x = Deciding(), torch.randn(3, 8)
    _, report = compress(network, SVD(), ranks=8, example_input=x)
    assert report.dense_macs == 64
    assert report.layers[0].reason == "rank 8 is not smaller"
    small, _ = compress(network, SVD(), ranks=2, example_input=x)
    assert small(x).shape == (3, 8)
    assert network.training and small.training, "modes are as they were"


def test_a_real_pass_changes_nothing():
    class Counting(Deciding):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen += 1
            return super().forward(x)

    network = Counting()
    small, _ = compress(network, SVD(), ranks=2, example_input=torch.randn(3, 8))
    assert (float(network.seen), float(small.seen)) == (0.0, 0.0)


def test_the_module_that_fails_is_named():
    network = nn.Sequential(nn.Sequential(nn.Linear(8, 8), nn.Linear(7, 7)))
    with pytest.raises(ValueError, match=r"shape \(1, 8\): module 0.1 \(Linear\): RuntimeError: mat1 and mat2"):
        compress(network, SVD(), ranks=2, example_input=torch.randn(1, 8))


def test_lazy_layers_get_their_shapes():
    network = nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(5))
    small, report = compress(network, SVD(), ranks=2, example_input=torch.randn(2, 3, 6, 6))
    assert [layer.rank for layer in report.layers] == [2, 2]
    assert small(torch.randn(4, 3, 6, 6)).shape == (4, 5)


COMPUTED = {
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(8, 8)),
    "old weight_norm": lambda: weight_norm(nn.Linear(8, 8)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(8, 8)),
    "old spectral_norm": lambda: spectral_norm(nn.Linear(8, 8)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(8, 8)),
    "pruned": lambda: prune.l1_unstructured(nn.Linear(8, 8), "weight", 0.3),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
@pytest.mark.parametrize("kind", COMPUTED)
def test_layers_whose_weight_is_computed_stay_dense_and_nothing_else(kind):
    """After a pass the older kinds keep a tensor with a history, which cannot be copied as it is."""
    torch.manual_seed(0)
    network, x = nn.Sequential(COMPUTED[kind](), nn.ReLU(), nn.Linear(8, 8)), torch.randn(3, 8)
    network(x).sum()
    small, report = compress(network.eval(), SVD(), ranks=8, example_input=x)
    assert report.layers[0].reason == "its weight is computed (weight_norm, spectral_norm or another parametrization)"
    small, report = compress(network, SVD(), ranks=3, example_input=x)
    assert report.layers[1].rank == 3
    assert torch.equal(small[0](x), network[0](x))
    small(x).sum().backward()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_attention_calls_the_factors_in_evaluation_mode():
    """Torch's fast path multiplies with the weights of the linear layers by itself, and raised at factors."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    network, x = nn.TransformerEncoder(layer, 2).eval(), torch.randn(2, 5, 16)
    small, report = compress(network, SVD(), ranks=3, layers=["*linear?"], example_input=x)
    assert [r.rank for r in report.layers if "linear" in r.name] == [3] * 4
    called = []
    small.layers[0].linear1[0].register_forward_hook(lambda *_: called.append(1))
    with torch.no_grad():
        evaluated = small(x)
        small(x, src_key_padding_mask=torch.tensor([[False] * 5, [False] * 3 + [True] * 2]))
    assert len(called) == 2
    dense = copy.deepcopy(small)
    for block in dense.layers:
        block.linear1, block.linear2 = block.linear1.to_dense(), block.linear2.to_dense()
    with torch.no_grad():
        assert torch.allclose(dense(x), evaluated, atol=1e-5), "and by the fast path of the dense one"
    small.train()(x).sum().backward()


def test_an_unfused_recurrent_layer_is_looked_at_like_a_fused_one():
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(8, 8, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x)[0] + self.rnn.weight_hh_l0[:8, 0] + self.rnn.bias_ih_l0[:8]

    network, x = Tagger(), torch.randn(2, 5, 8)
    small, _ = compress(network, SVD(), ranks=2, layers=["rnn.hh_l0"], example_input=x)
    assert torch.equal(small.rnn.weight_ih_l0, network.rnn.weight_ih_l0)
    assert torch.allclose(small.rnn.weight_hh_l0, small.rnn.hh_l0.to_dense().weight)
    assert small(x).shape == (2, 5, 8)
    assert not hasattr(small.rnn, "weight_hh_l1")


def test_layers_that_no_format_represents_have_a_line():
    layers = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.ConvTranspose1d(4, 2, 2))
    _, report = compress(layers, SVD(), ranks=2, example_input=torch.zeros(1, 4, dtype=torch.long))
    assert {line.name: line.reason for line in report.layers} == {
        "0": "no format represents Embedding", "1": None, "2": "rank 2 is not smaller",
    }  # fmt: skip


def test_complex_weights_are_left_alone():
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8, dtype=torch.complex64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x).to(torch.complex64)).abs()

    _, report = compress(Complex(), SVD(), ranks=2, example_input=torch.randn(1, 8))
    assert [line.reason for line in report.layers] == [
        None,
        "its weight is torch.complex64; formats write real numbers",
    ]


def test_operators_without_a_formula_are_named_once():
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvalsh(self.layer(x).mT @ x)

    _, report = compress(Spectrum(), SVD(), budget=0.9, example_input=torch.randn(1, 3, 8))
    assert str(report).endswith("counted as nothing, for want of a formula: aten._linalg_eigh")


def test_layers_that_the_network_keeps_elsewhere_are_refused():
    """They were reported as compressed, while the passes went on calling the dense ones."""

    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(16, 16), nn.Linear(16, 4)
            self.stack = [self.first, self.last]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.stack:
                x = layer(x)
            return x

    with pytest.raises(ValueError, match="layer first: the network goes on calling the dense layer"):
        compress(Listed(), SVD(), ranks=2, example_input=torch.randn(1, 16))


def test_lazy_norms_get_their_shapes():
    network = nn.Sequential(nn.Linear(8, 8), nn.LazyBatchNorm1d(), nn.LazyLinear(4)).eval()
    small, report = compress(network, SVD(), ranks=2, example_input=torch.randn(5, 8))
    assert [layer.rank for layer in report.layers] == [2, 2]
    assert small(torch.randn(5, 8)).shape == (5, 4)


def test_a_bias_that_is_computed_has_a_reason():
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    prune.l1_unstructured(network[0], "bias", 0.5)
    _, report = compress(network, SVD(), ranks=2, example_input=torch.randn(1, 8))
    assert report.layers[0].reason == "its bias is computed (pruning or another parametrization)"


class Attends(nn.Module):
    """Attention over a sequence, and a head."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(16, 4, batch_first=True, **options), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.attention(x, x, x)[0])


def test_attention_has_a_line_for_each_of_its_layers():
    x = torch.randn(2, 5, 16)
    _, report = compress(Attends(), SVD(), ranks=2, example_input=x)
    parts = [f"attention.{part}" for part in ("q", "k", "v", "out_proj")]
    assert [(line.name, line.rank) for line in report.layers] == [(name, 2) for name in [*parts, "head"]]
    assert (report.dense_params, report.num_params) == (1156, 4 * (64 + 16) + 2 * 20 + 4)
    assert report.dense_macs == 5 * 16 * 16 * 4 + 2 * 5 * 5 * 16 + 5 * 16 * 4
    _, report = compress(Attends(), SVD(), ranks=2, example_input=x, joint_qkv=True)
    assert [line.name for line in report.layers] == ["attention.qkv", "attention.out_proj", "head"]
    assert report.layers[0].num_params == 2 * 64 + 48
    with pytest.raises(ValueError, match="joint_qkv: no attention"):
        compress(nn.Sequential(nn.Linear(8, 8)), SVD(), ranks=2, example_input=x[..., :8], joint_qkv=True)


def test_attention_that_stays_dense_says_why():
    x = torch.randn(2, 5, 16)
    small, report = compress(Attends(add_bias_kv=True), SVD(), ranks=2, example_input=x)
    assert [(line.name, line.reason) for line in report.layers] == [
        ("attention", "add_bias_kv: it has keys and values that its input has not"), ("head", None),
    ]  # fmt: skip
    network = Attends()
    small, report = compress(network, SVD(), ranks=2, example_input=x, layers=["head"])
    assert report.layers[0].reason == "not selected by layers"
    assert type(small.attention) is nn.MultiheadAttention and type(network.attention) is nn.MultiheadAttention


def test_passes_for_a_metric_and_for_the_clock_change_no_buffers():
    class Averaging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)
            self.register_buffer("average", torch.zeros(8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.average.mul_(0.9).add_(x.mean(0), alpha=0.1)
            return self.layer(x) + self.average

    x = torch.randn(16, 8) + 3
    small, _ = compress(Averaging(), SVD(), ranks=2, example_input=x, metric=Gram(), calibration=[x] * 3)
    assert not small.average.any()
    assert not materialize(small, x)[0].average.any()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"budget": 0.01}, "budget=0.01: .* layers and min_rank"),
        ({"ranks": [99]}, "ranks: layer 0 takes a rank from 1"),
    ],
    ids=str,
)
def test_rules_speak_of_the_arguments_of_compress(wrong, said):
    with pytest.raises(ValueError, match=said) as caught:
        compress(nn.Sequential(nn.Linear(8, 8)), SVD(), example_input=torch.randn(1, 8), **wrong)
    assert "rank." not in str(caught.value) and "method." not in str(caught.value)


def test_a_format_is_an_object():
    with pytest.raises(ValueError, match=r"expected a format such as .*, got the class SVD"):
        compress(nn.Sequential(nn.Linear(8, 8)), SVD, ranks=2, example_input=torch.randn(1, 8))
