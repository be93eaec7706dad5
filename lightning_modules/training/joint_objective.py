"""The L step: the dense network trains on its loss plus a pull towards its compressed weights.

    min over W of   L(W) + μ/2 Σ_l ‖W_l − Θ_l − β_l/μ‖²

The learning rate is at most 1/μ: a larger step on the quadratic overshoots, and one larger than 2(1+m)/(1+2m) times
that diverges (Nesterov's momentum m). The penalty's gradient `μ W − (μ Θ + β)` is added in place after the backward
pass, in two fused additions over all layers: no autograd graph, no copy of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.training.classifier import Classifier
from lightning_modules.training.schedule import Phase


class JointObjective(Classifier):
    """Train a network on the joint objective, with Θ, β and μ fixed.

    Args:
        network, phase, rate_factor: as in `Classifier`; the factor is lowered where the penalty needs it.
        weights: the network's own parameters W, by layer name.
        compressed: Θ, in the shapes of W.
        multipliers: β, in the shapes of W; None is the quadratic penalty.
        penalty: μ.
        momentum: that of the L step before, by parameter name; None begins without any.
    """

    def __init__(
        self,
        network: nn.Module,
        phase: Phase,
        rate_factor: float,
        *,
        weights: Mapping[str, nn.Parameter],
        compressed: Mapping[str, Tensor],
        multipliers: Mapping[str, Tensor] | None,
        penalty: float,
        momentum: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(network, phase, min(rate_factor, 1 / (penalty * phase.learning_rate)))
        self.penalty = penalty
        self.momentum = momentum or {}
        self.optimizer: torch.optim.Optimizer | None = None
        self.weights = list(weights.values())
        self.offsets = [
            penalty * compressed[name] + (multipliers[name] if multipliers is not None else 0.0) for name in weights
        ]

    def configure_optimizers(self) -> Any:
        """Return what a classifier does, with the momentum given."""
        configured = super().configure_optimizers()
        (self.optimizer,) = configured[0]
        for name, parameter in self.network.named_parameters():
            if name in self.momentum:
                self.optimizer.state[parameter]["momentum_buffer"] = self.momentum[name].to(parameter, copy=True)
        return configured

    def final_momentum(self) -> dict[str, Tensor]:
        """Return the momentum after the training, by parameter name; empty if nothing was trained or it has none."""
        state: Mapping[Any, dict[str, Any]] = {} if self.optimizer is None else self.optimizer.state
        buffers = {name: state.get(p, {}).get("momentum_buffer") for name, p in self.network.named_parameters()}
        return {name: buffer for name, buffer in buffers.items() if buffer is not None}

    def on_fit_start(self) -> None:
        """Move the offsets to the device on which the network trains."""
        self.offsets = [offset.to(weight) for offset, weight in zip(self.offsets, self.weights, strict=True)]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Add the penalty's gradient: after unscaling and averaging over devices, once per optimiser step."""
        gradients = [weight.grad for weight in self.weights]
        torch._foreach_add_(gradients, self.weights, alpha=self.penalty)  # type: ignore[arg-type]
        torch._foreach_sub_(gradients, self.offsets)  # type: ignore[arg-type]
