"""Gradual compression: compress a little, fine-tune, repeat, as MUSCO does [GKPOC19].

    R_1 = full rank;   R_{k+1} = ⌊R_k − w (R_k − r_k)⌋,   r_k the rule's rank of the weights after stage k − 1

Each stage decomposes the product of the trained factors. The last stage takes the ranks of the rule itself, so that a
budget is met. Differs from [GKPOC19], where a stage decomposes the core of the previous stage, and the stages end when
nothing is gained: here their number is given, because the schedules of a comparison must have equal lengths.

[GKPOC19] Gusak, Kholyavchenko, Ponomarev, Markeeva, Oseledets & Cichocki, MUSCO: Multi-stage compression of neural
    networks, ICCV workshops 2019.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MinLen
from torch import Tensor, nn

from decompositions.core.format import Format
from decompositions.core.frontier import Frontier, Rank, as_modes, as_rank
from decompositions.core.metric import Metric
from decompositions.rank_search.rule import RankChoice, RankRule
from decompositions.search.c_step import RankSearch
from lightning_modules.core.dry_run import dry_run, refuse_idle_distillation
from lightning_modules.core.method import Compressed, compressed_result, prepare_copy, train_compressed, with_factors
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Phase, Schedule
from runtime.console import say
from runtime.copies import copy_network
from runtime.identity import AsBefore


@dataclass(frozen=True)
class Gradual:
    """Compress and fine-tune in `num_stages` stages, which share the epochs of the phase `fine_tune`.

    `weakening`, w above, is how far a stage goes from the ranks before it to those of the rule (1: all the way). The
    other options are those of `direct.Direct`.
    """

    decomposition: Format
    rank: RankRule
    num_stages: Annotated[int, Ge(1)] = 3
    weakening: Annotated[float, Gt(0), Le(1)] = 0.5
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])
    min_rank: Annotated[int, Ge(1)] = 1
    normalize: bool = False
    metric: Annotated[Metric | None, AsBefore(None)] = None
    joint_qkv: Annotated[bool, AsBefore(False)] = False

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if no layer can be compressed, its factors have no product, or epochs are too few."""
        if 0 < schedule.fine_tune.epochs < self.num_stages:
            raise ValueError(
                f"num_stages: expected at most {schedule.fine_tune.epochs} (schedule.fine_tune.epochs), one epoch for "
                f"each stage, got {self.num_stages}; lower method.num_stages, or train longer"
            )
        refuse_idle_distillation(schedule, schedule.fine_tune.epochs)
        why = "each stage decomposes the product of the factors of the previous stage"
        dry_run(self, network, input_shape, why_dense=why)

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Run the stages; after each, a dense network takes the product of its factors."""
        network, search, calibration = prepare_copy(self, reference, runner)
        first, choice, before, history = 0, None, dict[str, Rank | None](), list[dict[str, Any]]()
        if (saved := runner.load_state()) is not None:
            search.note_reference()  # while the weights are still the reference's
            network.load_state_dict(saved["network"])
            first, history, choice = saved["stage"], saved["history"], RankChoice(saved["ranks"], saved["reason"])
        for stage in range(first, self.num_stages):
            weights, search = search.weights, calibration.measured(search)
            if choice is None:
                choice = self._choose(search, weights, before, stage, runner)
                runner.save_state({"stage": stage, "network": network.state_dict(), "history": history, **vars(choice)})
            step = search(weights, runner.schedule.penalty.weight(0), choice)
            violation, compressed = step.violation(weights), with_factors(network, search, step)
            train_compressed(compressed, reference, self._phase(stage, runner), f"stage {stage + 1}", runner)
            top1 = runner.validate(compressed).top1_percent
            say(f"stage {stage + 1}  violation {violation:.3e}  ranks {step.ranks}  validation top-1 {top1:.2f} %")
            entry = {"step": stage, "violation": violation, "ranks": step.ranks, "validation_top1_percent": top1}
            history = [*history, entry]
            runner.log({f"gradual/{key}": value for key, value in entry.items()})
            before, choice = choice.ranks, None
            absorb(network, compressed, step.factors)
        return compressed_result(compressed, search, step, violation, history, calibration=calibration)

    def _choose(
        self,
        search: RankSearch,
        weights: Mapping[str, Tensor],
        before: Mapping[str, Rank | None],
        stage: int,
        runner: Runner,
    ) -> RankChoice:
        """Return the ranks of the rule in the last stage; in others, weakened ones between those `before` and these."""
        problem = search.problem(search.analyse(weights), runner.schedule.penalty.weight(0))
        wanted = search.choose(problem)
        if stage == self.num_stages - 1:
            return wanted
        ranks = {
            name: weakened(before.get(name), wanted.ranks[name], frontier, self.weakening)
            for name, frontier in problem.frontiers.items()
        }
        return RankChoice(ranks, f"{wanted.reason}; weakened by {self.weakening:g}")

    def _phase(self, stage: int, runner: Runner) -> Phase:
        """Return the stage's share of the phase `fine_tune`; all stages together have its epochs."""
        phase = runner.schedule.fine_tune
        start, end = (phase.epochs * number // self.num_stages for number in (stage, stage + 1))
        return replace(phase, epochs=end - start)


def weakened(before: Rank | None, wanted: Rank | None, frontier: Frontier, share: float) -> Rank | None:
    """Return `⌊R − w (R − r)⌋` in every mode, with R = `before`, r = `wanted` (at most R) and w = `share`.

    R is the full rank if `before` is None; the result is `before` if `wanted` is None: the layer is not to change.
    Where ranks are to be multiples of a number, the next larger one is taken.
    """
    if wanted is None:
        return before
    full = as_rank([high for _, high in frontier.allowed]) if before is None else before
    modes = [
        math.floor(high - share * (high - min(high, low)) + 1e-9)
        for high, low in zip(as_modes(full)[0].tolist(), as_modes(wanted)[0].tolist(), strict=True)
    ]
    return as_rank(frontier.rounded(modes, up=True))


def absorb(network: nn.Module, compressed: nn.Module, names: Collection[str]) -> None:
    """Copy the values of `compressed` into the dense `network`: those of the factorised layers `names` as products."""
    dense = copy_network(compressed)
    for name in names:
        dense.set_submodule(name, dense.get_submodule(name).to_dense())  # type: ignore[operator]
    network.load_state_dict(dense.state_dict())
