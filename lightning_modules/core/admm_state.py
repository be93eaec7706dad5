"""The ADMM state of the joint objective: dense weights W, multipliers β, momentum, and the history of the steps.

    C step at `A = W − β/μ`;   then β ← β − μ (W − Θ)          (see joint)

It is saved after every C step, so that a killed run resumes from the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from decompositions.rank_search.rule import RankChoice
from decompositions.search.c_step import CStep, RankSearch
from lightning_modules.core.calibration import Calibration
from lightning_modules.training.classifier import Diverged
from lightning_modules.training.penalty_metric import PenaltyMetric
from lightning_modules.training.runner import Runner
from runtime.console import say

# A metric has so many eigenvectors for each position that a layer sees in a batch: products with 2 · 2q · weights
# multiply-adds, where the layer's own passes of the batch have 3 · positions · weights.
SHARE_OF_STEP = 1 / 8


class AdmmState:
    """The dense weights, the multipliers (None: quadratic penalty) and the history, which the steps change.

    Args:
        network: the dense network, which the L steps train.
        search: compresses its weights.
        runner: validates, logs and saves.
        has_multipliers: False for the quadratic penalty.
        calibration: measures the metric of both steps, of the weights before each C step if `measures_every_step`,
            else of the reference.
    """

    def __init__(
        self,
        network: nn.Module,
        search: RankSearch,
        runner: Runner,
        has_multipliers: bool,
        calibration: Calibration,
        *,
        measures_every_step: bool,
    ) -> None:
        self.network = network
        self.search = search
        self.calibration = calibration
        self.measures_every_step = measures_every_step
        self.metrics: dict[str, PenaltyMetric] = {}
        self.runner = runner
        self.weights = {name: network.get_parameter(f"{name}.weight") for name in search.sites}
        zeros = {name: torch.zeros_like(weight) for name, weight in self.weights.items()}
        self.multipliers = zeros if has_multipliers else None
        self.momentum: dict[str, Tensor] | None = None  # of the last L step, where the next one keeps it
        self.history: list[dict[str, Any]] = []

    def start_or_resume(self, penalty: Callable[[int], float]) -> tuple[int, CStep]:
        """Return step 0 and its C step (direct compression), or the last step and C step of a run that resumes.

        `penalty` maps the number of a step to μ.
        """
        saved = self.runner.load_state()
        if saved is None or not self.measures_every_step:
            self.measure()
        if saved is None:
            step = self.c_step(penalty(0))
            self.record(0, step, penalty(0))
            return 0, step
        self.search.note_reference()  # while the weights are still the reference's
        self.network.load_state_dict(saved["network"])
        if self.multipliers is not None:
            self.multipliers = {name: m.to(self.weights[name].device) for name, m in saved["multipliers"].items()}
        self.momentum, self.history = saved["momentum"], saved["history"]
        self.calibration.seconds += saved["calibration_seconds"]
        if self.measures_every_step:
            self.measure()
        return saved["step"], self.c_step(penalty(saved["step"]), RankChoice(saved["ranks"], saved["reason"]))

    def measure(self) -> None:
        """Measure the metric of the present weights, for this C step and the next L step."""
        search = self.calibration.measured(self.search)
        size = self.runner.schedule.batch_size
        self.metrics = {
            name: PenaltyMetric.of(metric, max(int(SHARE_OF_STEP * size * search.sites[name].positions), 1))
            for name, metric in search.metrics.items()
        }
        self.search = replace(search, metrics={name: metric.site for name, metric in self.metrics.items()})

    def c_step(self, penalty: float, choice: RankChoice | None = None) -> CStep:
        """Compress `W − β/μ`, at the ranks of `choice` if it is given; raises `Diverged` where that is not finite."""
        targets = shifted(self.weights, self.multipliers, penalty)
        for name, target in targets.items():
            if not bool(target.isfinite().all()):
                raise Diverged(f"{name}: W − β/μ is NaN or infinite at μ = {penalty:g}; raise schedule.penalty.initial")
        return self.search(targets, penalty, choice)

    def update_multipliers(self, step: CStep, penalty: float) -> None:
        """Update `β ← β − μ (W − Θ)`, in place; do nothing for the quadratic penalty."""
        if self.multipliers is not None:
            update_multipliers(self.multipliers, self.weights, step.compressed, penalty)

    def record(self, number: int, step: CStep, penalty: float, train_loss: float | None = None) -> None:
        """Validate the compressed weights, log and print the step, add it to the history, and save the state."""
        violation = step.violation(self.weights)
        values = {f"{name}.weight": step.compressed[name] for name in step.factors}
        values |= {f"{name}.bias": bias for name, bias in step.biases.items()}
        with substituted({name: self.network.get_parameter(name) for name in values}, values):
            top1 = self.runner.validate(self.network).top1_percent
        entry = {
            "step": number,
            "penalty": penalty,
            "violation": violation,
            "ranks": step.ranks,
            "train_loss": train_loss,
            "validation_top1_percent": top1,
        }
        self.runner.log({f"joint/{k}": v for k, v in entry.items()} | logged_ranks(step))
        ranks = " ".join("dense" if rank is None else str(rank) for rank in step.ranks.values())
        measured = f"violation {violation:.3e}  ranks {ranks}  validation top-1 {top1:.2f} %"
        say(f"L step {number:3d}  mu {penalty:.2e}  {measured}")
        self.history = [*self.history, entry]
        state = {"step": number, "network": self.network.state_dict(), "multipliers": self.multipliers}
        state |= {"momentum": self.momentum, "history": self.history, "calibration_seconds": self.calibration.seconds}
        self.runner.save_state({**state, **vars(step.choice)})


def update_multipliers(
    multipliers: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    compressed: Mapping[str, Tensor],
    penalty: float,
) -> None:
    """Update `β ← β − μ (W − Θ)` for each layer, in place."""
    for name, multiplier in multipliers.items():
        multiplier.sub_(weights[name].detach() - compressed[name], alpha=penalty)


def logged_ranks(step: CStep) -> dict[str, int]:
    """Return the ranks as metrics: `rank/fc1`, or `rank/conv1/0`, `rank/conv1/1` for a format with two modes.

    A dense layer has none.
    """
    single = {f"rank/{name}": rank for name, rank in step.ranks.items() if isinstance(rank, int)}
    several = {name: rank for name, rank in step.ranks.items() if isinstance(rank, tuple)}
    return single | {f"rank/{name}/{mode}": r for name, rank in several.items() for mode, r in enumerate(rank)}


def shifted(
    weights: Mapping[str, Tensor], multipliers: Mapping[str, Tensor] | None, penalty: float
) -> dict[str, Tensor]:
    """Return `W − β/μ`, which the C step approximates; at μ = 0 the multipliers are still zero."""
    if multipliers is None or penalty == 0:
        return {name: weight.detach() for name, weight in weights.items()}
    return {name: weight.detach() - multipliers[name] / penalty for name, weight in weights.items()}


@contextmanager
def substituted(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Give the parameters `values` inside the block, and their own ones back after it."""
    kept = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(values[name])
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(kept[name])
