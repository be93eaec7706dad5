"""The C step: for fixed weights, find the ranks and factors that compress them best.

    min over Θ_l and r_l of   λ Σ C_l(r_l) + μ/2 Σ ‖A_l − Θ_l‖²        (or whatever the rank rule minimises)

Each layer's frontier holds the errors of its ranks, or bounds on them, for Tucker-2 and tensor trains; formats with too
many ranks to list hold some of them. So enumerating ranks costs nothing, and factors are computed only for those
chosen. With SVD, whose factors are the best of their rank, the step never raises the `cost` rule's joint objective.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from torch import Tensor

from decompositions.core.format import Analysis, Factors, Format, frontier_of
from decompositions.core.frontier import Frontier, Rank, as_modes
from decompositions.core.metric import SiteMetric
from decompositions.core.site import Site
from decompositions.core.transposed import layer_in_place_of
from decompositions.core.whitening import analyse_in
from decompositions.layers.geometry import with_bias
from decompositions.layers.unfuse import Kind
from decompositions.metrics.recovery import biases_for
from decompositions.rank_search.rule import RankChoice, RankProblem, RankRule, multiple_of
from decompositions.search.measure import Probe, layer_latency_ms
from decompositions.search.parallel import Alone, Processes, owners, shared


@dataclass(frozen=True)
class CStep:
    """The result of a C step, by layer: rank (None: dense), factors, Θ in dense shape (`compressed`), and cost.

    A layer left dense has no factors, is its own Θ, and has a line in `dense_reasons`. `choice` is the rank rule's
    answer. `biases` are the new biases of the factorised layers whose metric has a mean input; `metrics` are those in
    which the step was made.
    """

    ranks: dict[str, Rank | None]
    factors: dict[str, Factors]
    compressed: dict[str, Tensor]
    costs: dict[str, dict[str, int]]
    dense_reasons: dict[str, str]
    choice: RankChoice
    biases: dict[str, Tensor] = field(default_factory=dict)
    metrics: Mapping[str, SiteMetric] = field(default_factory=dict)

    def violation(self, weights: Mapping[str, Tensor]) -> float:
        """`Σ‖W − Θ‖²` over the factorised layers, each in its metric: how far they are from the constraint."""
        gaps = {name: weights[name].detach().double() - self.compressed[name].double() for name in self.factors}
        return sum((self.metrics.get(name, SiteMetric()).squared_error(gap) for name, gap in gaps.items()), 0.0)


@dataclass(frozen=True)
class Analyses:
    """The frontiers of all layers, and the factors computed so far, which probes and the final choice share.

    `of` holds the analyses of the layers that this process owns (`owner` gives each layer's process): if there is one
    process only, all of them.
    """

    of: dict[str, Analysis]
    frontiers: dict[str, Frontier]
    owner: dict[str, int]
    processes: Processes
    found: dict[tuple[str, Rank], Factors] = field(default_factory=dict)

    def factors(self, ranks: Mapping[str, Rank | None]) -> dict[str, Factors]:
        """Return the factors of the layers with a rank, each computed once; collective: every process must call it."""
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
    """A format and a rank rule for the sites of a network. Called with weights, it makes one C step.

    `rest_params` and `rest_macs` count the network outside the sites. With `dense=False` no layer is left dense in a C
    step: the rule chooses among ranks of any size, and `leave_large_dense` decides at the end. `normalize` divides each
    squared error by the squared norm of the weight it is given (in the joint method `W − β/μ`) when ranks are chosen,
    as [IC20]'s code does for deep networks. `uncounted` names operators that `rest_macs` leaves out. `probe` measures
    accuracies for the rules that need them. `skipped` says why other layers stay dense, `unfused` names the layers
    that were unfused, and how (see `layers.unfuse`). Several `processes` share the work (see `search.parallel`); then
    all of them must make the same steps. `metrics` says in which metric a layer is approximated; without one it is the
    identity.
    """

    sites: Mapping[str, Site]
    format: Format
    rule: RankRule
    rest_params: int = 0
    rest_macs: int = 0
    min_rank: int = 1
    dense: bool = True
    normalize: bool = False
    probe: Probe | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    unfused: Mapping[str, Kind] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    processes: Processes = field(default_factory=Alone)
    metrics: Mapping[str, SiteMetric] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Return the current weights of the sites, by name."""
        return {name: site.weight.detach() for name, site in self.sites.items()}

    @property
    def _means(self) -> dict[str, Tensor]:
        return {name: metric.mean for name, metric in self.metrics.items() if metric.mean is not None}

    def note_reference(self) -> None:
        """Measure the reference's accuracy before the network changes, if there is a probe."""
        if self.probe is not None:
            _ = self.probe.reference_percent

    def analyse(self, weights: Mapping[str, Tensor]) -> Analyses:
        """Factorise every weight; raises `ValueError` that names the layer if a weight is NaN or infinite."""
        owner, analyses = owners(weights, self.processes.size), dict[str, Analysis]()

        def frontier(name: str, weight: Tensor) -> Frontier:
            analyses[name] = analyse_in(self.format, weight, self.metrics.get(name))
            step = multiple_of(self.rule)
            return frontier_of(analyses[name], self.sites[name], self.min_rank, dense=self.dense, multiple_of=step)

        work = {name: partial(frontier, name, weight) for name, weight in weights.items()}
        frontiers = shared(self.processes, owner, work)
        return Analyses(analyses, frontiers, owner, self.processes)

    def problem(self, analyses: Analyses, penalty: float) -> RankProblem:
        """Return the problem that the rank rule solves: every layer's frontier, and functions that measure a choice."""
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
        """Return the rule's choice; raises `ValueError` if it finds none, or one that these layers do not allow."""
        choice, rule = self.rule(problem), type(self.rule).__name__
        if not isinstance(choice, RankChoice) or set(choice.ranks) != set(problem.frontiers):
            raise ValueError(
                f"rank rule {rule}: expected a RankChoice with ranks for {[*problem.frontiers]}, got {choice!r}"
            )
        for name, rank in choice.ranks.items():
            if rank is None:
                continue
            frontier, modes = problem.frontiers[name], rank if isinstance(rank, tuple) else (rank,)
            if not all(type(mode) is int for mode in modes) or not frontier.allows(modes):
                raise ValueError(f"rank rule {rule}: layer {name} takes ranks in {frontier.limits}, got {rank!r}")
        return choice

    def __call__(self, weights: Mapping[str, Tensor], penalty: float, choice: RankChoice | None = None) -> CStep:
        """Choose ranks for `weights` at penalty μ, unless a `choice` is given, and factorise them."""
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
                if num_params < site.num_params or not self.dense:
                    costs[name] = {"params": num_params, "macs": macs}
                    continue
                ranks[name], dense_reasons[name] = None, _not_smaller(rank)
            elif len(frontier) == 1:
                dense_reasons[name] = "no allowed rank is smaller" if self.dense else "no rank is allowed"
            else:
                dense_reasons[name] = "the rank rule keeps it dense"
        factors = analyses.factors(ranks)
        compressed = {n: factors[n].to_tensor() if n in factors else w for n, w in weights.items()}
        biases = biases_for(self.sites, {name: compressed[name] for name in factors}, self._means)
        return CStep(ranks, factors, compressed, costs, dense_reasons, choice, biases, self.metrics)

    def leave_large_dense(self, step: CStep, weights: Mapping[str, Tensor]) -> CStep:
        """Return the C step with each layer whose rank is not smaller left dense, at its weight in `weights`."""
        large = {name for name in step.factors if step.costs[name]["params"] >= self.sites[name].num_params}
        dense_costs = {name: {"params": self.sites[name].num_params, "macs": self.sites[name].macs} for name in large}
        return replace(
            step,
            ranks=step.ranks | dict.fromkeys(large),
            factors={name: factors for name, factors in step.factors.items() if name not in large},
            compressed=step.compressed | {name: weights[name] for name in large},
            costs=step.costs | dense_costs,
            dense_reasons=step.dense_reasons | {name: _not_smaller(step.ranks[name]) for name in large},
            biases={name: bias for name, bias in step.biases.items() if name not in large},
        )

    def _latency_ms(self, name: str, ranks: Sequence[Rank | None], batch_size: int) -> list[float]:
        """Measure one layer at each rank; raises `ValueError` for a part of a recurrent layer."""
        if self.unfused.get(name.rpartition(".")[0]) == "recurrent":
            raise ValueError(
                f"rank: layer {name} is part of a recurrent layer, whose dense weights run in one fused kernel: its "
                "time cannot be measured alone; leave it out by layers=, or take another rank rule"
            )
        return layer_latency_ms(self.format, self.sites[name], ranks, batch_size)

    def _accuracy_percent(self, probe: Probe, analyses: Analyses, ranks: Mapping[str, Rank | None]) -> float:
        """Measure the network with its layers at these ranks."""
        factors = analyses.factors(ranks)
        biases = biases_for(self.sites, {name: each.to_tensor() for name, each in factors.items()}, self._means)
        layers = {}
        for name, each in factors.items():
            dense = self.sites[name].layer
            dense = with_bias(dense, biases[name]) if name in biases else dense
            layers[name] = layer_in_place_of(self.format, dense, each)
        return probe.accuracy_percent(layers)


def _not_smaller(rank: Rank | None) -> str:
    return f"rank {rank} is not smaller"
