"""What a network is called with: several inputs, nested ones, graphs, packed sequences, samples along any axis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from decompositions import compress
from decompositions.network.materialize import materialize
from decompositions.svd import SVD
from evaluation.example import Example


class Masked(nn.Module):
    """A network of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x) * mask)


@pytest.mark.parametrize("given", ["tuple", "dict"])
def test_networks_of_several_inputs(given):
    x, mask = torch.randn(5, 8), torch.ones(5, 1)
    example = (x, mask) if given == "tuple" else {"x": x, "mask": mask}
    small, report = compress(Masked(), SVD(), ranks=2, example_input=example)
    assert [layer.rank for layer in report.layers] == [2, 2]
    assert report.dense_macs == 96, "of one sample, not of the batch"
    merged, decisions = materialize(small, example)
    assert torch.allclose(merged(x, mask), small(x, mask), atol=1e-5)
    assert len(decisions) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((1, 8)), "got a NumPy array; take torch.from_numpy"),
        (([1, 2],), "got a tuple without one"),
        ({}, "got a dict without one"),
    ],
    ids=["numpy", "numbers", "nothing"],
)
def test_examples_that_hold_no_tensor(given, said):
    with pytest.raises(ValueError, match=f"expected a tensor, a tuple of arguments or a dict .*{said}"):
        Example.of(given, nn.Linear(8, 8))


class Branches(nn.Module):
    """Two inputs of one size, the second inside a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor, others: list) -> torch.Tensor:
        return self.first(x) + self.second(others[0])


def test_one_sample_is_cut_out_of_nested_inputs_too():
    _, report = compress(Branches(), SVD(), ranks=2, example_input=(torch.randn(64, 16), [torch.randn(64, 16)]))
    assert [layer.dense_macs for layer in report.layers] == [256, 256]


def test_what_has_no_samples_is_passed_whole():
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, nodes: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
            return adjacency @ self.layer(nodes)

    nodes = torch.randn(6, 8)
    _, report = compress(Graph(), SVD(), ranks=2, example_input=(nodes, torch.rand(6, 6)))
    assert report.dense_macs == 6 * 64 + 6 * 6 * 8, "of one node the product with the adjacency has no meaning"


def test_packed_sequences_are_passed_whole_and_not_counted_apart():
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.LSTM(16, 32), nn.Linear(32, 8)

        def forward(self, x: PackedSequence) -> torch.Tensor:
            return self.head(self.rnn(x)[0].data)

    x = pack_sequence([torch.randn(5, 16), torch.randn(3, 16)])
    for example in (x, (x,)):
        small, report = compress(Packed(), SVD(), ranks=3, layers=["head"], example_input=example)
        assert report.layers[-1].dense_macs == 8 * 32 * 8
        assert small(x).shape == (8, 8)
    with pytest.raises(ValueError, match="take a padded batch as example input"):
        compress(Packed(), SVD(), ranks=3, example_input=x)


def test_the_axis_of_samples_may_be_another_or_none():
    network, x = nn.Sequential(nn.Linear(8, 8)), torch.randn(20, 3, 8)
    macs = [compress(network, SVD(), ranks=2, example_input=e)[1].dense_macs for e in (x, Example((x,), batch_axis=1))]
    macs += [compress(network, SVD(), ranks=2, example_input=Example((x,), batch_axis=None))[1].dense_macs]
    assert macs == [3 * 64, 20 * 64, 60 * 64]
