"""The L step: the dense network trains on its loss plus a pull towards its compressed weights.

    min over W of   L(W) + μ/2 Σ_l ‖W_l − Θ_l − β_l/μ‖²

In a metric G the norm is `‖·‖_G`, and the gradient of the penalty `G_out (μ W − μ Θ − β) G_in`: β/μ is then the scaled
multiplier of the method of multipliers, and `G β` the multiplier itself.

The learning rate is at most 1/μ, or 1/(μ λ) with λ the largest eigenvalue of a metric: a larger step on the quadratic
overshoots, and one larger than 2(1+m)/(1+2m) times that diverges (Nesterov's momentum m). The penalty's gradient
`μ W − (μ Θ + β)` is added in place after the backward pass: without a metric in two fused additions over all layers, no
autograd graph, no copy of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.training.classifier import Classifier
from lightning_modules.training.penalty_metric import PenaltyMetric
from lightning_modules.training.schedule import Phase


class JointObjective(Classifier):
    """Train a network on the joint objective, with Θ, β and μ fixed.

    Args:
        network, phase, rate_factor: as in `Classifier`; the factor is lowered where the penalty needs it.
        weights: the network's own parameters W, by layer name.
        compressed: Θ, in the shapes of W.
        multipliers: β, in the shapes of W; None is the quadratic penalty.
        penalty: μ.
        metrics: the metrics of some layers, by name; the others have the identity.
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
        metrics: Mapping[str, PenaltyMetric] = {},
        momentum: Mapping[str, Tensor] | None = None,
    ) -> None:
        largest = max((metric.largest for metric in metrics.values()), default=1.0)
        super().__init__(network, phase, min(rate_factor, 1 / (penalty * max(largest, 1.0) * phase.learning_rate)))
        self.penalty = penalty
        self.momentum = momentum or {}
        self.optimizer: torch.optim.Optimizer | None = None
        plain, measured = ([n for n in weights if (n in metrics) is measured] for measured in (False, True))
        offsets = {
            name: penalty * compressed[name] + (multipliers[name] if multipliers is not None else 0.0)
            for name in weights
        }
        self.weights, self.offsets = [weights[name] for name in plain], [offsets[name] for name in plain]
        self.measured = [(weights[name], offsets[name], metrics[name]) for name in measured]

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
        self.measured = [(weight, offset.to(weight), metric.to(weight)) for weight, offset, metric in self.measured]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Add the penalty's gradient: after unscaling and averaging over devices, once per optimiser step."""
        if self.weights:
            gradients = [weight.grad for weight in self.weights]
            torch._foreach_add_(gradients, self.weights, alpha=self.penalty)  # type: ignore[arg-type]
            torch._foreach_sub_(gradients, self.offsets)  # type: ignore[arg-type]
        for weight, offset, metric in self.measured:
            assert weight.grad is not None
            metric.add_times(weight.grad, torch.sub(offset, weight.detach(), alpha=self.penalty), -1.0)
