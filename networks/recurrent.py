"""An LSTM or GRU that reads a sequence frame by frame and classifies by its last state, as [YKT17] do with videos.

Frames are flattened: 160×120×3 pixels are 57,600 inputs, so an LSTM of 256 hidden units has 58,982,400 input weights
for tensor trains to compress. [YKT17] flatten them as (height, width, channel), which their modes mean, and start as
Keras does.

[YKT17] Yang, Krompass & Tresp, Tensor-train recurrent neural networks for video classification, ICML 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from jaxtyping import Float
from torch import Tensor, nn

from runtime.identity import AsBefore

Flattened = Literal["channels_first", "channels_last"]


class FrameReader(nn.Module):
    """Classify `(batch, frame, …)` by the state after the last frame that is not exactly zero; zeros are padding."""

    def __init__(
        self, rnn: nn.LSTM | nn.GRU, dropout: float, num_classes: int, flattened: Flattened = "channels_first"
    ) -> None:
        super().__init__()
        self.flattened = flattened
        self.rnn = rnn
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(rnn.hidden_size, num_classes)

    def forward(self, x: Float[Tensor, "batch frame ..."]) -> Float[Tensor, "batch num_classes"]:
        """Return the logits of a batch of sequences."""
        if self.flattened == "channels_last":
            x = x.movedim(2, -1)  # (batch, frame, height, width, channel)
        frames = x.flatten(2)  # (batch, frame, input)
        states = self.rnn(frames)[0]  # (batch, frame, hidden)
        number = torch.arange(frames.shape[1], device=x.device)
        last = ((frames != 0).any(dim=2) * number).amax(dim=1)  # the first frame where all are padding
        state = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)
        return self.fc(self.dropout(state))


def recurrent(
    input_shape: Sequence[int],
    num_classes: int,
    cell: Literal["lstm", "gru"],
    hidden: Annotated[int, Ge(1)] = 256,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
    flattened: Annotated[Flattened, AsBefore("channels_first")] = "channels_first",
    start: Annotated[Literal["torch", "keras"], AsBefore("torch")] = "torch",
) -> FrameReader:
    """Build one LSTM or GRU layer of `hidden` units on frames of `input_shape[1:]`; `input_shape[0]` is their number.

    `flattened` is the order in which the pixels of an image frame `(channel, height, width)` become inputs. For `start`
    see `start_as_keras`. Raises `ValueError` for samples that are no sequences.
    """
    if len(input_shape) not in (2, 4):  # frames of numbers, or of images; three are one image
        raise ValueError(f"it reads sequences (frame, …), got samples of {list(input_shape)}; take dataset=ucf11")
    if flattened == "channels_last" and len(input_shape) == 2:
        raise ValueError("flattened: frames of numbers have no channels; take network.flattened=channels_first")
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    rnn = kind(math.prod(input_shape[1:]), hidden, batch_first=True)
    network = FrameReader(rnn, dropout, num_classes, flattened)
    if start == "keras":
        start_as_keras(network)
    return network


@torch.no_grad()
def start_as_keras(network: FrameReader) -> None:
    """Draw input and last weights uniformly at Glorot's variance, hidden weights orthogonal, all gates together.

    Biases are 0, those of forget gates 1 [YKT17]; they stand among the hidden biases, which stay where the input
    weights are factorised.
    """
    rnn, bias = network.rnn, network.rnn.get_parameter("bias_hh_l0")
    nn.init.xavier_uniform_(rnn.get_parameter("weight_ih_l0"))
    nn.init.orthogonal_(rnn.get_parameter("weight_hh_l0"))  # (gates · hidden, hidden), with orthonormal columns
    nn.init.zeros_(rnn.get_parameter("bias_ih_l0"))
    nn.init.zeros_(bias)
    if isinstance(rnn, nn.LSTM):
        bias[rnn.hidden_size : 2 * rnn.hidden_size] = 1.0  # gates in the order i, f, g, o
    nn.init.xavier_uniform_(network.fc.weight)
    nn.init.zeros_(network.fc.bias)
