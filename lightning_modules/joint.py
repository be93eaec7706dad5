"""Learning-compression: training and compression of one joint objective, in turn [IC20, Cai23].

    min over W, Θ, r of   L(W) + λ Σ_l C_l(r_l)   s.t.  W_l = Θ_l,  Θ_l of rank r_l in the format

    L step   SGD on  L(W) + μ/2 Σ ‖W_l − Θ_l − β_l/μ‖²                (see joint_objective)
    C step   Θ_l, r_l = argmin  λ C_l(r) + μ/2 ‖W_l − β_l/μ − Θ(r)‖²   (see decompositions.c_step)
    then     β_l ← β_l − μ (W_l − Θ_l),   μ ← growth · μ

It starts from direct compression (a C step with β = 0), ends with the factors of the last C step in place of the dense
layers, and fine-tunes those. The field's joint methods are configurations of it (β = −μ Y in the notation of the last
two, whose multipliers Y are scaled):

    lc_svd, lc_cur       the `cost` rule at every step, μ grows [IC20, Cai23]
    admm_…               ranks given at the start, μ constant, one epoch between projections [YSLY21]
    alternating_tucker   the `accuracy` or the `budget` rule at every step, μ grows, hardly any fine-tuning [LXWXL25]

[Cai23] and [LXWXL25] are reconstructions: of both, only the abstract was at hand.

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
[Cai23] Cai, Li, Liu, Chen & Zhang, Learning and compressing, Applied Sciences 13:2704, 2023.
[YSLY21] Yin, Sui, Liao & Yuan, Towards efficient tensor decomposition-based DNN model compression with optimization
    framework, CVPR 2021.
[LXWXL25] Liu, Xie, Wen, Xie & Li, Accuracy-preserving compression via Tucker, IEEE TSUSC 10(2), 2025.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, MinLen
from torch import Tensor, nn

from decompositions.c_step import CStep
from decompositions.format import Format
from decompositions.rank_search.rule import RankChoice, RankRule
from lightning_modules.joint_objective import JointObjective
from lightning_modules.method import Compressed, outcome, prepare_search, replaced, train, try_search
from lightning_modules.progress import bar, say
from lightning_modules.runner import Runner


@dataclass(frozen=True)
class Joint:
    """Alternate L and C steps, then fine-tune.

    Its three switches: `multipliers` (true: augmented Lagrangian, false: quadratic penalty); the schedule's penalty
    (its start and growth; 1 keeps it constant, as ADMM does); and the rule of the C step, `rank`, asked at every step
    or `once`, at the start, so that the ranks are given and the step is a projection. The other options are those of
    `direct.Direct`. How long the steps are, is the schedule's.
    """

    decomposition: Format
    rank: RankRule
    multipliers: bool = True
    choose_ranks: Literal["every_step", "once"] = "every_step"
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])
    min_rank: Annotated[int, Ge(0)] = 1
    normalize: bool = False

    def check(self, network: nn.Module, input_shape: Sequence[int]) -> None:
        """Raise `ValueError` if no layer can be compressed or the rank rule finds no ranks for such layers."""
        try_search(self, network, input_shape, needs_dense=True)

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Run the L and C steps of the runner's schedule on a copy, replace its layers and fine-tune."""
        network = copy.deepcopy(reference).to(runner.device)
        search = prepare_search(self, network, runner.data.input_shape, lambda: runner.validate(network).top1_percent)
        weights = {name: network.get_parameter(f"{name}.weight") for name in search.sites}
        multipliers = {name: torch.zeros_like(weight) for name, weight in weights.items()} if self.multipliers else None
        first, choice, is_done, history = 0, None, False, list[dict[str, Any]]()
        if (saved := runner.recall()) is not None:
            search.note_reference()  # while the weights are still the reference's
            network.load_state_dict(saved["network"])
            multipliers = saved["multipliers"] and {n: m.to(runner.device) for n, m in saved["multipliers"].items()}
            choice = RankChoice(saved["ranks"], saved["reason"])
            first, is_done, history = saved["step"], True, saved["history"]
        schedule, step = runner.schedule, None
        with bar("joint objective", schedule.penalty.num_steps) as advance:
            for number in range(first, schedule.penalty.num_steps + 1):
                penalty = schedule.penalty.weight(number)
                train_loss: float | None = None
                if step is not None:  # the first step is direct compression, or had been trained when it was saved
                    objective = JointObjective(
                        network,
                        schedule.l_step,
                        schedule.l_step_decay**number,
                        weights=weights,
                        compressed=step.compressed,
                        multipliers=multipliers,
                        penalty=penalty,
                    )
                    runner.train(objective, f"L step {number}", show=False)
                    train_loss = objective.mean_loss
                step = search(shifted(weights, multipliers, penalty), penalty, choice)
                if not is_done:
                    history = [*history, self._record(network, weights, step, penalty, runner, number, train_loss)]
                    runner.remember(
                        {
                            "step": number,
                            "network": network.state_dict(),
                            "multipliers": multipliers,
                            "history": history,
                            **vars(step.choice),
                        }
                    )
                self._update(multipliers, weights, step, penalty)
                choice, is_done = step.choice if self.choose_ranks == "once" else None, False
                advance(f"mu {penalty:.2e}")
        assert step is not None
        say(f"ranks {step.ranks}: {step.choice.reason}")
        compressed = replaced(network, search, step)
        train(compressed, reference, schedule.fine_tune, "fine-tuning", runner)
        return outcome(compressed, search, step, history[-1]["violation"], history)

    @staticmethod
    def _update(
        multipliers: dict[str, Tensor] | None, weights: Mapping[str, Tensor], step: CStep, penalty: float
    ) -> None:
        """`β ← β − μ (W − Θ)`, in place."""
        if multipliers is not None:
            for name, compressed in step.compressed.items():
                multipliers[name].sub_(weights[name].detach() - compressed, alpha=penalty)

    @staticmethod
    def _record(
        network: nn.Module,
        weights: Mapping[str, nn.Parameter],
        step: CStep,
        penalty: float,
        runner: Runner,
        number: int,
        train_loss: float | None,
    ) -> dict[str, Any]:
        """Evaluate the compressed weights on validation, log and print one line of the L step."""
        violation = step.violation(weights)
        factorised = {name: step.compressed[name] for name in step.factors}
        with substituted({name: weights[name] for name in factorised}, factorised):
            top1 = runner.validate(network).top1_percent
        record = {
            "step": number,
            "penalty": penalty,
            "violation": violation,
            "ranks": step.ranks,
            "train_loss": train_loss,
            "validation_top1_percent": top1,
        }
        runner.log({f"joint/{k}": v for k, v in record.items()} | logged_ranks(step))
        ranks = " ".join("dense" if rank is None else str(rank) for rank in step.ranks.values())
        measured = f"violation {violation:.3e}  ranks {ranks}  validation top-1 {top1:.2f} %"
        say(f"L step {number:3d}  mu {penalty:.2e}  {measured}")
        return record


def logged_ranks(step: CStep) -> dict[str, int]:
    """`rank/fc1`, or `rank/conv1/0`, `rank/conv1/1` for a format with two modes; nothing for a dense layer."""
    single = {f"rank/{name}": rank for name, rank in step.ranks.items() if isinstance(rank, int)}
    several = {name: rank for name, rank in step.ranks.items() if isinstance(rank, tuple)}
    return single | {f"rank/{name}/{mode}": r for name, rank in several.items() for mode, r in enumerate(rank)}


def shifted(
    weights: Mapping[str, Tensor], multipliers: Mapping[str, Tensor] | None, penalty: float
) -> dict[str, Tensor]:
    """`W − β/μ`, what the C step approximates."""
    if multipliers is None:
        return {name: weight.detach() for name, weight in weights.items()}
    return {name: weight.detach() - multipliers[name] / penalty for name, weight in weights.items()}


@contextmanager
def substituted(weights: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Give the parameters other values for a while."""
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(values[name])
        yield
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(kept[name])
