"""The metric in which a format approximates a weight: how much an error matters in each output and each input.

    ‖D‖²_G = tr(G_out D G_in Dᵀ),     D = W − Θ as a matrix, out × in·kernel

With `G_in = Σ x xᵀ` over the layer's inputs it is the squared error of the layer's outputs. `metrics` has the ways to
measure G, `core.whitening` says how a format factorises in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from decompositions.core.site import Site
from decompositions.linalg.moments import RTOL, Kronecker

# What is above this share of the largest entry is no rounding.
ROUNDING = 1e-9
# Calibration data: batches `(inputs, labels)` of tensors, or of inputs alone for metrics that need no labels.
Batches = Iterable[Any]
# Adds a tensor of sums over the processes that share calibration data.
Reduce = Callable[[Tensor], Tensor]


def alone(sums: Tensor) -> Tensor:
    """Return the sums of a process that shares its data with none."""
    return sums


@dataclass(frozen=True)
class SiteMetric:
    """The moments of one layer: of its outputs, `(out)`, and of its inputs, over the axes `(in, *kernel)`.

    Each is a Kronecker product of matrices `(side, side)` or diagonals `(side,)`; empty is the identity. `mean`,
    `(in·kernel,)`, is the mean input that a bias makes up for: the layer with the weight Θ gets the bias
    `b + (W − Θ) mean`. Eigenvalues below the share `rtol` of a moment's largest count as zero.
    """

    out: tuple[Tensor, ...] = ()
    into: tuple[Tensor, ...] = ()
    mean: Tensor | None = None
    rtol: float = RTOL

    def __post_init__(self) -> None:
        """Take everything to float64; raise `ValueError` for values that no training can have meant."""
        for name in ("out", "into"):
            object.__setattr__(self, name, tuple(moment.double() for moment in getattr(self, name)))
        object.__setattr__(self, "mean", None if self.mean is None else self.mean.double())
        values = (*self.out, *self.into, *(() if self.mean is None else (self.mean,)))
        if not all(bool(value.isfinite().all()) for value in values):
            raise ValueError(
                "metric: the calibration pass gave NaN or infinite values; look for such inputs in the training data, "
                "and for weights that have diverged"
            )
        for moment in (*self.out, *self.into):
            if moment.ndim not in (1, 2) or moment.shape[0] != moment.shape[-1]:
                shape = tuple(moment.shape)
                raise ValueError(f"metric: expected moments of shape (side, side) or (side,), got {shape}")
            if moment.ndim == 2 and not torch.allclose(
                moment, moment.T, rtol=1e-6, atol=1e-9 * float(moment.abs().max())
            ):
                raise ValueError("metric: expected a symmetric moment, such as XᵀX of inputs X, got one that is not")
            diagonal = moment if moment.ndim == 1 else moment.diagonal()
            if len(diagonal) and float(diagonal.min()) < -ROUNDING * float(diagonal.max()):
                raise ValueError("metric: a moment has no negative eigenvalues, but this one has a negative diagonal")

    def require_fits(self, weight: Tensor) -> None:
        """Raise `ValueError` if the sides or the mean are not those of a weight `(out, in, *kernel)`."""
        expected = len(weight), weight[0].numel()
        for name, side, moments in zip(("outputs", "inputs"), expected, (self.out, self.into), strict=True):
            if moments and math.prod(len(moment) for moment in moments) != side:
                sides = [len(moment) for moment in moments]
                raise ValueError(f"metric: expected moments of {side} {name}, got sides {sides}")
        if self.mean is not None and self.mean.shape != expected[1:]:
            raise ValueError(f"metric: expected a mean of {expected[1]} inputs, got the shape {tuple(self.mean.shape)}")

    def to(self, device: torch.device | str) -> SiteMetric:
        """Return the metric with its moments on `device`."""
        tensors = (*self.out, *self.into, *(() if self.mean is None else (self.mean,)))
        if all(tensor.device == torch.device(device) for tensor in tensors):
            return self
        out, into = (tuple(moment.to(device) for moment in moments) for moments in (self.out, self.into))
        return replace(self, out=out, into=into, mean=None if self.mean is None else self.mean.to(device))

    @property
    def is_zero(self) -> bool:
        """Return True if no error counts."""
        return any(Kronecker(parts).trace == 0 for parts in (self.out, self.into) if parts)

    def roots(self) -> tuple[Kronecker | None, Kronecker | None]:
        """Return the symmetric roots `L_out`, `L_in`; None is the identity."""
        out, into = (
            Kronecker(parts).root_and_inverse(self.rtol)[0] if parts else None for parts in (self.out, self.into)
        )
        return out, into

    def times(self, difference: Tensor) -> Tensor:
        """Return `G_out D G_in` of a difference of weights, in its shape and float64."""
        matrix, here = difference.double().flatten(1), self.to(difference.device)
        if self.out:
            matrix = Kronecker(here.out) @ matrix
        if self.into:
            matrix = (Kronecker(here.into) @ matrix.T).T
        return matrix.reshape(difference.shape)

    def squared_error(self, difference: Tensor) -> float:
        """Return `tr(G_out D G_in Dᵀ)` of a difference of weights, `(out, in, *kernel)`."""
        difference = difference.detach().double()
        return float((difference * self.times(difference)).sum())


@runtime_checkable
class Metric(Protocol):
    """A way to measure how much errors matter. Implementations are frozen dataclasses whose fields are its options.

    `num_samples`: so many calibration samples are read, rounded up to whole batches. Two optional class variables:

    `needs_data`: True where absent. A metric that only sees in which order the network calls its layers sets it to
    False; one sample of any values does.
    `compares_layers`: False where absent. True says that errors of different layers are in one unit, such as that of
    the loss, so that rank rules need no relative errors.
    """

    @property
    def num_samples(self) -> int: ...

    def measure(
        self,
        network: nn.Module,
        sites: Mapping[str, Site],
        batches: Batches,
        all_reduce: Reduce = alone,
    ) -> dict[str, SiteMetric]:
        """Return the metric of each site that the calibration data reach; the network is as it was before.

        `all_reduce` sums over the processes that share `batches`. Raises `ValueError` if labels are needed and
        `batches` have none, or if there are no batches.
        """
        ...
