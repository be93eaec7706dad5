"""Learning-compression: minimise one joint objective by training and compressing in turn [IC20, Cai23].

    min over W, Θ, r of   L(W) + λ Σ_l C_l(r_l)   s.t.  W_l = Θ_l,  Θ_l of rank r_l in the format

    L step   SGD on  L(W) + μ/2 Σ ‖W_l − Θ_l − β_l/μ‖²                (see joint_objective)
    C step   Θ_l, r_l = argmin  λ C_l(r) + μ/2 ‖W_l − β_l/μ − Θ(r)‖²   (see decompositions.search.c_step)
    then     β_l ← β_l − μ (W_l − Θ_l),   μ ← growth · μ

It starts from direct compression (a C step with β = 0), puts the factors of the last C step in the place of the dense
layers that are larger, and fine-tunes them. The field's joint methods are configurations of it (the last two write
scaled multipliers Y, where β = −μ Y):

    lc_svd, lc_cur       the `cost` rule at every step, μ grows [IC20, Cai23]
    admm_…               ranks given at the start, μ constant, one epoch between projections [YSLY21]
    alternating_tucker   the `accuracy` or the `budget` rule at every step, μ grows, hardly any fine-tuning [LXWXL25]

[Cai23] and [LXWXL25] are reconstructions: only their abstracts were at hand.

[IC20] Idelbayev & Carreira-Perpiñán, Low-rank compression of neural nets: learning the rank of each layer, CVPR 2020.
[Cai23] Cai, Li, Liu, Chen & Zhang, Learning and compressing, Applied Sciences 13:2704, 2023.
[YSLY21] Yin, Sui, Liao & Yuan, Towards efficient tensor decomposition-based DNN model compression with optimization
    framework, CVPR 2021.
[LXWXL25] Liu, Xie, Wen, Xie & Li, Accuracy-preserving compression via Tucker, IEEE TSUSC 10(2), 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Ge, MinLen
from torch import nn

from decompositions.core.format import Format
from decompositions.core.metric import Metric
from decompositions.metrics.layer import Layer
from decompositions.rank_search.rule import RankRule
from lightning_modules.core.admm_state import AdmmState
from lightning_modules.core.dry_run import dry_run, refuse_idle_distillation
from lightning_modules.core.method import (
    Compressed,
    compressed_result,
    prepare_copy,
    train_compressed,
    with_factors,
)
from lightning_modules.training.joint_objective import JointObjective
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Schedule
from runtime.console import bar, say
from runtime.copies import copy_network
from runtime.identity import AsBefore


@dataclass(frozen=True)
class Joint:
    """Alternate L and C steps, then fine-tune.

    Four switches tell the field's methods apart: `multipliers` (True: augmented Lagrangian, False: quadratic penalty);
    the growth of the schedule's penalty (1 keeps it constant, as ADMM does); `choose_ranks`: the rule `rank` is called
    at every C step, or once at the start, after which a C step is a projection; and `choose_dense`. The other options
    are those of `direct.Direct`. The schedule says how long the steps are.

    `choose_dense` says when a layer may be left dense: at the end, where its last rank makes it no smaller, as in
    [IC20]; or at every step, where the rule has the dense layer among its choices. A layer that the rule leaves dense
    at one step hardly ever gets a rank again: Θ = W − β/μ then makes β zero, nothing pulls the layer to a low rank any
    more, and μ/2 of its tail grows with μ. ADMM calls the rule once and cannot fall into this.

    A `metric` is that of both steps, the penalty of the L step and the error of the C step, with the mean eigenvalue 1
    in each layer (see `training.penalty_metric`). `measure_metric`: before every C step, or once, of the reference.

    Until the end, `cost` and `energy` take any rank, `accuracy` also the largest where nothing smaller is accurate
    enough. `budget` and `latency` take none that is larger than the dense layer: with them, a layer is dense at the end
    only if its smallest rank is.
    """

    decomposition: Format
    rank: RankRule
    multipliers: bool = True
    choose_ranks: Literal["every_step", "once"] = "every_step"
    choose_dense: Literal["at_the_end", "every_step"] = "at_the_end"
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])
    min_rank: Annotated[int, Ge(0)] = 1
    normalize: bool = False
    metric: Annotated[Metric | None, AsBefore(None)] = None
    joint_qkv: Annotated[bool, AsBefore(False)] = False
    measure_metric: Annotated[Literal["every_step", "once"], AsBefore("every_step")] = "every_step"

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if no layer can be compressed or the rank rule finds no ranks for such layers."""
        if isinstance(self.metric, Layer):
            raise ValueError(
                "metric: layer is one weight for a whole layer, and the penalty has the mean weight 1 in every layer; "
                "take metric=identity, or method=direct"
            )
        if self.metric is None and self.measure_metric != "every_step":
            raise ValueError("measure_metric: metric=identity is not measured; leave measure_metric out")
        why = "the joint objective pulls dense weights towards the product of the factors"
        refuse_idle_distillation(schedule, schedule.fine_tune.epochs)
        dry_run(self, network, input_shape, why_dense=why)

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Run the L and C steps of the runner's schedule on a copy, replace its layers, and fine-tune."""
        network, search, calibration = prepare_copy(self, reference, runner)
        search = replace(search, dense=self.choose_dense == "every_step")
        every_step = self.measure_metric == "every_step"
        state = AdmmState(network, search, runner, self.multipliers, calibration, measures_every_step=every_step)
        schedule, mu = runner.schedule, runner.schedule.penalty.weight
        first, step = state.start_or_resume(mu)
        with bar("joint objective", schedule.penalty.num_steps - first) as advance:
            for number in range(first + 1, schedule.penalty.num_steps + 1):
                state.update_multipliers(step, mu(number - 1))
                objective = JointObjective(
                    network,
                    schedule.l_step,
                    schedule.l_step_factor(number),
                    weights=state.weights,
                    compressed=step.compressed,
                    multipliers=state.multipliers,
                    penalty=mu(number),
                    metrics=state.metrics,
                    momentum=state.momentum,
                )
                runner.train(objective, f"L step {number}", show=False)
                if every_step:
                    state.measure()
                state.momentum = objective.final_momentum() if schedule.keep_momentum else None
                step = state.c_step(mu(number), step.choice if self.choose_ranks == "once" else None)
                state.record(number, step, mu(number), objective.mean_loss)
                advance(f"mu {mu(number):.2e}")
        search, step = state.search, state.search.leave_large_dense(step, state.weights)
        say(f"ranks {step.ranks}: {step.choice.reason}")
        compressed = with_factors(network, search, step)
        untuned = copy_network(compressed)
        train_compressed(compressed, reference, schedule.fine_tune, "fine-tuning", runner)
        violation = step.violation(state.weights)
        return compressed_result(
            compressed, search, step, violation, state.history, untuned=untuned, calibration=calibration
        )
