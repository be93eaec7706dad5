"""The C step: fixed weights in, the best compressed weights out, ranks and all.

    min over Θ_l and r_l of   λ Σ C_l(r_l) + μ/2 Σ ‖A_l − Θ_l‖²        (or whatever the rank rule minimises)

Each layer's frontier holds the errors of its ranks (of some of them, where there are too many to list; for Tucker-2 and
tensor trains bounds), so enumerating them costs nothing and factors are computed only for the ranks chosen. With SVD,
whose factors are the best of their rank, the step never raises the joint objective of the `cost` rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from decompositions.core.format import Analysis, Factors, Format
from decompositions.core.frontier import Frontier, Rank, as_modes
from decompositions.core.site import Site
from decompositions.rank_search.rule import RankChoice, RankProblem, RankRule
from decompositions.search.measure import Probe, layer_latency_ms
from decompositions.search.parallel import Alone, Processes, owners, shared


@dataclass(frozen=True)
class CStep:
    """What a C step found, per layer: rank (None: dense), factors, Θ in dense shape, cost.

    A layer left dense has no factors and is its own Θ. `choice` is what the rank rule said.
    """

    ranks: dict[str, Rank | None]
    factors: dict[str, Factors]
    compressed: dict[str, Tensor]
    costs: dict[str, dict[str, int]]
    dense_reasons: dict[str, str]
    choice: RankChoice

    def violation(self, weights: Mapping[str, Tensor]) -> float:
        """`Σ‖W − Θ‖²` over the layers that were factorised: how far the constraint is from being met."""
        gaps = (weights[name].detach().double() - self.compressed[name].double() for name in self.factors)
        return sum((float(gap.square().sum()) for gap in gaps), 0.0)


@dataclass(frozen=True)
class Analyses:
    """The frontiers of all layers, and the factors asked of them so far: probes and the final choice share these.

    `of` holds the analyses of the layers whose `owner` this process is: alone, of all.
    """

    of: dict[str, Analysis]
    frontiers: dict[str, Frontier]
    owner: dict[str, int]
    processes: Processes
    found: dict[tuple[str, Rank], Factors] = field(default_factory=dict)

    def factors(self, ranks: Mapping[str, Rank | None]) -> dict[str, Factors]:
        """The factors of the layers that are not dense at `ranks`, each computed once; every process must ask."""
        wanted = {name: rank for name, rank in ranks.items() if rank is not None}
        missing = {name: rank for name, rank in wanted.items() if (name, rank) not in self.found}
        if missing:
            work = {name: partial(self._decompose, name, rank) for name, rank in missing.items()}
            new = shared(self.processes, self.owner, work)
            self.found.update({(name, rank): new[name] for name, rank in missing.items()})
        return {name: self.found[name, rank] for name, rank in wanted.items()}

    def _decompose(self, name: str, rank: Rank) -> Factors:
        return self.of[name].decompose(rank)


@dataclass(frozen=True)
class RankSearch:
    """A format and a rank rule on the sites of a network: all that a C step needs besides the weights.

    `rest_params` and `rest_macs` count what lies outside the sites. `normalize` divides each squared error by the
    squared norm of the weight it is given (in the joint method `W − β/μ`) when ranks are chosen, as [IC20]'s code does
    for deep networks. `probe` measures accuracies for the rules that ask for them. `skipped` says why other layers
    stay dense, `opened` names the recurrent layers that were opened (see `recurrent`). Several `processes` share the
    work (see `sharing`); then each must ask for the same steps.
    """

    sites: Mapping[str, Site]
    format: Format
    rule: RankRule
    rest_params: int = 0
    rest_macs: int = 0
    min_rank: int = 1
    normalize: bool = False
    probe: Probe | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    opened: tuple[str, ...] = ()
    processes: Processes = field(default_factory=Alone)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights of the sites as they are now."""
        return {name: site.weight.detach() for name, site in self.sites.items()}

    def note_reference(self) -> None:
        """Measure the reference's accuracy now, if it can be, because the network is about to change."""
        if self.probe is not None:
            _ = self.probe.reference_percent

    def analyse(self, weights: Mapping[str, Tensor]) -> Analyses:
        """Factorise every weight; raises `ValueError` that names a layer with NaN or infinite weights."""
        owner, analyses = owners(weights, self.processes.size), dict[str, Analysis]()

        def frontier(name: str, weight: Tensor) -> Frontier:
            analyses[name] = self.format.analyse(weight)
            return analyses[name].frontier(self.sites[name], self.min_rank)

        work = {name: partial(frontier, name, weight) for name, weight in weights.items()}
        frontiers = shared(self.processes, owner, work)
        return Analyses(analyses, frontiers, owner, self.processes)

    def problem(self, analyses: Analyses, penalty: float) -> RankProblem:
        """What the rank rule is asked: the frontier of every layer, and how to measure a choice."""
        frontiers = {
            name: frontier.normalized() if self.normalize else frontier for name, frontier in analyses.frontiers.items()
        }
        probe = self.probe
        return RankProblem(
            frontiers,
            penalty,
            self.rest_params,
            self.rest_macs,
            accuracy_percent=None if probe is None else partial(self._accuracy_percent, probe, analyses),
            reference_percent=None if probe is None else lambda: probe.reference_percent,
            latency_ms=self._latency_ms,
        )

    def choose(self, problem: RankProblem) -> RankChoice:
        """Ask the rule; raises `ValueError` if it has no answer, or one that is no choice for these layers."""
        choice, rule = self.rule(problem), type(self.rule).__name__
        if not isinstance(choice, RankChoice) or set(choice.ranks) != set(problem.frontiers):
            raise ValueError(
                f"rank rule {rule}: expected a RankChoice with ranks for {[*problem.frontiers]}, got {choice!r}"
            )
        for name, rank in choice.ranks.items():
            allowed = problem.frontiers[name].allowed
            modes = rank if isinstance(rank, tuple) else (rank,)
            fits = len(modes) == len(allowed) and all(
                type(mode) is int and low <= mode <= high for mode, (low, high) in zip(modes, allowed, strict=True)
            )
            if rank is not None and not fits:
                raise ValueError(f"rank rule {rule}: layer {name} takes ranks in {allowed}, got {rank!r}")
        return choice

    def __call__(self, weights: Mapping[str, Tensor], penalty: float, choice: RankChoice | None = None) -> CStep:
        """Choose the ranks of `weights`, unless a `choice` is given, and factorise them: the C step at penalty μ."""
        analyses = self.analyse(weights)
        problem = self.problem(analyses, penalty)
        choice = self.choose(problem) if choice is None else choice
        ranks: dict[str, Rank | None] = {}
        costs: dict[str, dict[str, int]] = {}
        dense_reasons: dict[str, str] = {}
        for name, frontier in problem.frontiers.items():
            ranks[name], site = choice.ranks[name], self.sites[name]
            costs[name] = {"params": site.num_params, "macs": site.macs}
            if (rank := ranks[name]) is not None:
                num_params, macs = (int(number) for number in self.format.count(site, as_modes(rank)))
                if num_params < site.num_params:
                    costs[name] = {"params": num_params, "macs": macs}
                    continue
                ranks[name], dense_reasons[name] = None, f"rank {rank} is not smaller"
            elif len(frontier) == 1:
                dense_reasons[name] = "no allowed rank is smaller"
            else:
                dense_reasons[name] = "the rank rule keeps it dense"
        factors = analyses.factors(ranks)
        compressed = {n: factors[n].to_tensor() if n in factors else w for n, w in weights.items()}
        return CStep(ranks, factors, compressed, costs, dense_reasons, choice)

    def _latency_ms(self, name: str, ranks: Sequence[Rank | None], batch_size: int) -> list[float]:
        """Of one layer at each rank."""
        if name.rpartition(".")[0] in self.opened:
            raise ValueError(
                f"rank: layer {name} is part of a recurrent layer, whose dense weights run in one fused kernel: its "
                "time cannot be measured alone; leave it out by layers=, or take another rank rule"
            )
        return layer_latency_ms(self.format, self.sites[name], ranks, batch_size)

    def _accuracy_percent(self, probe: Probe, analyses: Analyses, ranks: Mapping[str, Rank | None]) -> float:
        """Of the network with its layers at these ranks."""
        factors = analyses.factors(ranks)
        return probe.accuracy_percent({n: self.format.layer(self.sites[n].layer, f) for n, f in factors.items()})
