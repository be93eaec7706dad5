"""Small networks with what real ones have: skips, groups, geometry, recurrence."""

from __future__ import annotations

import torch
from torch import nn


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


class Tagger(nn.Module):
    """Two recurrent layers, one of them in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(48, 32, num_layers=2, batch_first=True)
        self.back = nn.GRU(32, 16, bidirectional=True)
        self.head = nn.Linear(32, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(x)
        y, _ = self.back(y.transpose(0, 1))
        return self.head(y[-1])
