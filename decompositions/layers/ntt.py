"""The layers of nonlinear tensor trains: contractions one after another, with norms and activations between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from decompositions.layers.base import Factored, reset_part
from decompositions.layers.geometry import CONVOLUTIONS, part_of, wrong_kind
from decompositions.layers.tt import reset_cores
from decompositions.linalg.tt_contraction import step

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": partial(nn.ReLU, inplace=True),
    "leaky_relu": partial(nn.LeakyReLU, inplace=True),
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
# 1/√E[φ(z)²] for normal z: the factor by which an activation weakens a signal; the next core restores it [HZRS15].
GAINS = {"identity": 1.0, "relu": 2**0.5, "leaky_relu": 1.4141, "tanh": 1.5925, "gelu": 1.5335, "silu": 1.6765}


@dataclass(frozen=True)
class Between:
    """The names of the functions between two contractions, which compute `activation(norm(x) + bias)`."""

    activation: str
    norm: str

    @property
    def gain(self) -> float:
        """Return the factor by which the next contraction must be larger to keep the signal's variance."""
        return GAINS[self.activation]


class Phi(nn.Module):
    """`activation(norm(x) + bias)` for `x` of `(rows, rank, positions)`; norms have no parameters of their own."""

    def __init__(self, between: Between, bias: Tensor) -> None:
        super().__init__()
        rank = len(bias)
        norms = {"batch": nn.BatchNorm1d(rank, affine=False), "layer": nn.GroupNorm(1, rank, affine=False)}
        self.norm = norms[between.norm].to(bias) if between.norm in norms else None
        self.bias = nn.Parameter(bias.detach().clone())
        self.activation = ACTIVATIONS[between.activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Map `(rows, rank, positions)` to the same shape; `x` is overwritten."""
        if self.norm is not None:
            x = self.norm(x)
        # In place: what a contraction or a norm returns is nobody else's, and their gradients do not read it.
        return self.activation(x.add_(self.bias[:, None]))


class NTTLinear(Factored):
    """A linear layer that contracts cores `(r_{k−1}, m_k, n_k, r_k)` from the last to the first, `phis` between."""

    def __init__(self, dense: nn.Module, cores: Sequence[Tensor], biases: Sequence[Tensor], between: Between) -> None:
        super().__init__()
        if not isinstance(dense, nn.Linear):
            raise ValueError(wrong_kind(dense))
        self.in_features, self.out_features, self.between = dense.in_features, dense.out_features, between
        self.cores = nn.ParameterList(core.detach().clone() for core in cores)
        self.phis = nn.ModuleList(Phi(between, bias) for bias in biases)  # bond 1, 2, …
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map `(…, in)` to `(…, out)`."""
        y = _contract(x.reshape(-1, self.in_features), 1, _backwards(self.cores, [None, *self.phis]))
        y = y.reshape(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def reset(self, gain: float) -> None:
        """Draw the cores anew: each restores the variance after the activation before it, the last multiplies it by
        `gain²`; biases become 0.
        """
        later = [self.between.gain] * (len(self.cores) - 2)
        reset_cores(list(self.cores), [1.0, *later], gain * self.between.gain)
        _reset_biases(self)


class NTTConv(Factored):
    """Input cores, a convolution between few channels, output cores; `phis` between them, None where there is none."""

    def __init__(
        self,
        dense: nn.Module,
        out: Sequence[Tensor],
        kernel: Tensor,
        into: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        between: Between,
    ) -> None:
        super().__init__()
        if not isinstance(dense, CONVOLUTIONS):
            raise ValueError(wrong_kind(dense))
        axes = range(len(dense.kernel_size))
        weight = kernel.movedim(1, 2)  # (r_out, r_in, kernel)
        self.between = between
        self.out_cores = nn.ParameterList(core[:, :, None].detach().clone() for core in out)  # (r, s, 1, r)
        self.convolution = part_of(dense, axes, weight.reshape(*weight.shape[:2], *dense.kernel_size))
        self.in_cores = nn.ParameterList(core[:, None].detach().clone() for core in into)  # (r, 1, c, r)
        self.phis = nn.ModuleList(nn.Identity() if bias is None else Phi(between, bias) for bias in biases)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        self.num_axes, self.num_outputs = len(axes), dense.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map `(batch, in, *size)` to `(batch, out, *size')`."""
        if x.ndim == self.num_axes + 1:
            return self.forward(x[None])[0]
        num_out = len(self.out_cores)
        phis = list(self.phis)  # of the bonds between outputs, kernel and inputs, in this order
        y = _contract(x.flatten(1), math.prod(x.shape[2:]), _backwards(self.in_cores, phis[num_out:]))
        y = self.convolution(y.reshape(x.shape[0], self.in_cores[0].shape[0], *x.shape[2:]))
        sizes = y.shape[2:]
        y = phis[num_out - 1](y.flatten(2)).flatten(1)
        y = _contract(y, math.prod(sizes), _backwards(self.out_cores, [None, *phis[: num_out - 1]]))
        y = y.reshape(x.shape[0], self.num_outputs, *sizes)
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * self.num_axes)

    @torch.no_grad()
    def reset(self, gain: float) -> None:
        """Draw the cores anew: each restores the variance after the activation before it, the last multiplies it by
        `gain²`; biases become 0.
        """
        # In the order of contraction; the first has nothing before it.
        phis = [self.between.gain if isinstance(phi, Phi) else 1.0 for phi in reversed(self.phis)]
        *gains, last = [1.0, *phis[:-1], phis[-1] * gain]
        num_in = len(self.in_cores)
        reset_cores(list(self.in_cores), gains[: num_in - 1], gains[num_in - 1])
        reset_part(self.convolution, gains[num_in])
        reset_cores(list(self.out_cores), gains[num_in + 1 :], last)
        _reset_biases(self)


def _contract(state: Tensor, done: int, cores: Iterator[tuple[Tensor, nn.Module | None]]) -> Tensor:
    """Contract `(rows, n · done)` with cores from the last to the first, each with the module after it, or None."""
    for core, phi in cores:
        state = step(state, core, done, from_left=False)  # (rows, n_left · r · done)
        done *= core.shape[1]
        if isinstance(phi, Phi):
            state = phi(state.reshape(-1, core.shape[0], done)).reshape(state.shape)
    return state


def _backwards(cores: nn.ParameterList, phis: list) -> Iterator[tuple[Tensor, nn.Module | None]]:
    return zip(reversed(list(cores)), reversed(phis), strict=True)


def _reset_biases(layer: NTTLinear | NTTConv) -> None:
    """Set all biases to 0 and reset the statistics of the norms."""
    for phi in layer.phis:
        if isinstance(phi, Phi):
            nn.init.zeros_(phi.bias)
            if isinstance(phi.norm, nn.BatchNorm1d):
                phi.norm.reset_running_stats()
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
