"""An LSTM or GRU that reads a sequence frame by frame and classifies by its last state, as [YKT17] do with videos.

Frames are flattened: 160×120×3 pixels are 57,600 inputs, so an LSTM of 256 hidden units has 58,982,400 input weights
for tensor trains to compress.

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


class FrameReader(nn.Module):
    """Classify `(batch, frame, …)` by the state after the last frame that is not exactly zero; zeros are padding."""

    def __init__(self, rnn: nn.LSTM | nn.GRU, dropout: float, num_classes: int) -> None:
        super().__init__()
        self.rnn = rnn
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(rnn.hidden_size, num_classes)

    def forward(self, x: Float[Tensor, "batch frame ..."]) -> Float[Tensor, "batch num_classes"]:
        """Return the logits of a batch of sequences."""
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
) -> FrameReader:
    """Build one LSTM or GRU layer of `hidden` units on frames of `input_shape[1:]`; `input_shape[0]` is their number.

    Raises `ValueError` for samples that are no sequences.
    """
    if len(input_shape) not in (2, 4):  # frames of numbers, or of images; three are one image
        raise ValueError(f"it reads sequences (frame, …), got samples of {list(input_shape)}; take dataset=ucf11")
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    return FrameReader(kind(math.prod(input_shape[1:]), hidden, batch_first=True), dropout, num_classes)
