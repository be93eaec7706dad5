"""How a network starts: as its builder makes it, or from a file of trained weights (`network.weights`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Gt, Le, MinLen
from torch import nn

from evaluation.accuracy import Accuracy
from runtime.identity import AsBefore
from runtime.weights import put_weights, read_weights

# How much lower than expected a reference may be: so many points, or standard errors of its share of right answers.
POINTS, ERRORS = 1.0, 3.0


@dataclass(frozen=True)
class Start:
    """The options that all networks share beside their own.

    `weights` is a file with a state_dict of the network, or None. With `new_head` the last layer starts untrained where
    the file's is of other classes. `expected_top1` is the top-1 in percent that the reference is known to have.
    """

    weights: Annotated[Annotated[str, MinLen(1)] | None, AsBefore(None)] = None
    new_head: Annotated[bool, AsBefore(False)] = False
    expected_top1: Annotated[Annotated[float, Gt(0), Le(100)] | None, AsBefore(None)] = None

    def apply(self, network: nn.Module) -> nn.Module:
        """Load the weights into `network`, if there are any; return it. Raises `ValueError` in one line."""
        if self.new_head and self.weights is None:
            raise ValueError("network.new_head: there are no network.weights with another last layer; leave it out")
        if self.weights is not None:
            path = Path(self.weights).expanduser()
            if not path.is_file():
                raise ValueError(f"network.weights: there is no file {path.absolute()}; nothing is fetched here")
            put_weights(network, read_weights(path), f"network.weights={self.weights}", self.new_head)
        return network

    def require_expected(self, validate: Callable[[], Accuracy]) -> None:
        """Raise `ValueError` if the reference's accuracy on the validation part is far below the expected one.

        Far is more than one point, and more than three standard errors of the share of right answers among so many
        samples. `validate` is called only where something is expected.
        """
        if self.expected_top1 is None:
            return
        found = validate()
        num_samples, top1_percent = found.num_samples, found.top1_percent
        share = (self.expected_top1 / 100 * num_samples + 1) / (num_samples + 2)  # never 1, which has no error
        margin = max(POINTS, 100 * ERRORS * math.sqrt(share * (1 - share) / num_samples))
        if not top1_percent >= self.expected_top1 - margin:
            raise ValueError(
                f"network.expected_top1: expected {self.expected_top1:g} % of the reference on the validation part "
                f"(less {margin:.1f} at most), got {top1_percent:.2f} %: its weights were probably trained with other "
                "preprocessing; set dataset.mean and dataset.std, or dataset.normalisation, to theirs"
            )
