"""What authors' code does where their papers are silent: poolings, paddings, biases, orders of pixels, starts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from networks.garipov import garipov_conv, garipov_conv_fc
from networks.nin import nin
from networks.recurrent import recurrent

RGB = [3, 32, 32]


def kinds(network, start):
    return [type(module).__name__ for name, module in network.named_children() if name.startswith(start)]


def test_nin_pools_by_maxima_and_norms_its_logits():
    """[IC20]'s code: three maximum poolings, nine batch norms, eight ReLUs."""
    network = nin(RGB, 10)
    assert kinds(network, "pool") == ["MaxPool2d", "MaxPool2d", "AdaptiveMaxPool2d"]
    assert (len(kinds(network, "bn")), len(kinds(network, "relu"))) == (9, 8)
    network.eval()
    x = torch.randn(2, *RGB)
    before = network[: list(dict(network.named_children())).index("pool3")](x)  # (2, 10, 8, 8)
    assert torch.equal(network(x), before.amax(dim=(2, 3)))


def test_garipovs_convolutions_as_their_code_has_them():
    """[GPNV16]: 4×4 pixels behind the sixth convolution, biases in all of them and none in the linear layer."""
    network = garipov_conv(RGB, 10)
    assert network[:-3](torch.randn(2, *RGB)).shape == (2, 128, 4, 4)
    assert (network.conv1.bias is None, network.conv6.bias is None, network.fc.bias is None) == (False, False, True)


@pytest.mark.parametrize("make", [garipov_conv, garipov_conv_fc])
def test_poolings_begin_at_the_first_pixel(make):
    """TensorFlow's padding "SAME" of an even side stands behind it alone: a row of -infinity, and none before."""
    x = torch.randn(2, 64, 32, 32)
    expected = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)
    assert torch.equal(make(RGB, 10).pool2(x), expected)


def test_frames_are_flattened_with_channels_last():
    """[YKT17] read pixels as (height, width, channel): the same input weights give what that order gives."""
    torch.manual_seed(0)
    network = recurrent([4, 3, 5, 6], 7, "lstm", 8, flattened="channels_last")
    x = torch.randn(2, 4, 3, 5, 6)
    flat = x.permute(0, 1, 3, 4, 2).reshape(2, 4, 90)  # (clip, frame, height · width · channel)
    assert torch.allclose(network(x), network.fc(network.rnn(flat)[0][:, -1]), atol=1e-6)
    with pytest.raises(ValueError, match=r"have no channels; take network\.flattened=channels_first"):
        recurrent([4, 90], 7, "lstm", 8, flattened="channels_last")


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_keras_start(cell):
    """Orthogonal hidden weights, Glorot's variance elsewhere, no biases but 1 at forget gates."""
    torch.manual_seed(0)
    hidden, inputs, gates = 32, 300, 4 if cell == "lstm" else 3
    network = recurrent([4, inputs], 7, cell, hidden, start="keras")
    rnn = network.rnn
    assert torch.allclose(rnn.weight_hh_l0.T @ rnn.weight_hh_l0, torch.eye(hidden), atol=1e-5)
    limit = (6 / (inputs + gates * hidden)) ** 0.5
    assert 0.98 * limit < rnn.weight_ih_l0.abs().max() <= limit
    assert 0 < network.fc.weight.abs().max() <= (6 / (hidden + 7)) ** 0.5
    expected = torch.zeros(gates, hidden)
    if isinstance(rnn, nn.LSTM):
        expected[1] = 1.0  # gates in the order i, f, g, o
    assert torch.equal(rnn.bias_ih_l0 + rnn.bias_hh_l0, expected.flatten())
    assert not network.fc.bias.any()
