"""The mark of a layer that stands in the place of a dense one."""

from __future__ import annotations

from torch import nn


class Factored(nn.Module):
    """What `Format.layer` returns. A layer that computes what a dense one would also has `to_dense() -> nn.Module`."""

    def reset(self, gain: float) -> None:
        """Start anew, in place: keep the signal's variance inside, multiply it by `gain²` at the end; no bias."""
        raise NotImplementedError
