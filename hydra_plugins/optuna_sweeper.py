"""The sweeper behind `hydra/sweeper=optuna`: Optuna chooses the points of a search, and rows on disk are its study.

Options are named as those of hydra-optuna-sweeper, which asks for Optuna 2 and hands trials to the launcher itself,
past the check before a sweep, the locks and the rows.

Source: Akiba, Sano, Yanase, Ohta & Koyama, Optuna: A next-generation hyperparameter optimization framework, KDD 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from hydra.core.plugins import Plugins
from hydra.errors import InstantiationException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig

from orchestration.errors import ConfigError
from orchestration.sweep.axes import Choices, Interval, read_axes
from orchestration.sweep.best import objective_of
from orchestration.sweep.fast_compose import Composer
from orchestration.sweep.search import Search, split_axes
from orchestration.sweep.sweep import Sweep
from runtime.messages import first_line


class OptunaSweeper(Sweeper):
    """Search with `sampler` for `n_trials`, of which `n_jobs` are chosen at once; `params` are further overrides."""

    def __init__(
        self, n_trials: int, n_jobs: int, sampler: Mapping[str, Any], params: Mapping[str, Any] | None = None
    ) -> None:
        self.num_trials, self.num_at_once = n_trials, n_jobs
        self.sampler, self.params = sampler, params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what Hydra passes and make the launcher; raises `ConfigError` for a wrong number, or without Optuna."""
        if find_spec("optuna") is None:
            raise ConfigError("hydra/sweeper=optuna: it is not installed; pip install 'compression-bench[optuna]'")
        for name, number in (("n_trials", self.num_trials), ("n_jobs", self.num_at_once)):
            if not isinstance(number, int) or number < 1:
                raise ConfigError(f"hydra.sweeper.{name}: expected int >= 1, got {number!r}")
        self.context = hydra_context
        self.base = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the search, or print its plan; exits with 1 if a point failed."""
        loader = self.context.config_loader
        fixed, searched = split_axes(
            read_axes(loader, [*(f"{k}={'null' if v is None else v}" for k, v in self.params.items()), *arguments])
        )
        if not searched:
            raise ConfigError("hydra/sweeper=optuna: nothing to search; give several values, or interval(0.1,0.5)")
        compose = Composer(loader, self.base)
        example = compose([*fixed, *(f"{key}={_first(axis)}" for key, axis in searched.items())])
        for key, axis in searched.items():  # a choice that makes no sense is refused now, not at its trial
            for value in axis.values[1:] if isinstance(axis, Choices) else ():
                compose([*fixed, *(f"{k}={value if k == key else _first(a)}" for k, a in searched.items())])
        if hidden := [key for key in searched if not example.is_identity(key.lstrip("+"))]:
            raise ConfigError(f"{hidden[0]}: cannot be searched: it does not change the computation; give one value")
        study = _Study(self.sampler, searched, len(objective_of(example).names))
        sweep = Sweep(self.launcher, self.base)
        search = Search(sweep, compose, study, fixed, self.num_trials, self.num_at_once)
        if example.config["plan"]:
            search.plan()
            return
        with sweep.summed_up():
            search.run(fail_fast=example.config["fail_fast"])


class _Study:
    """A study of Optuna in memory: the `Chooser` of a search."""

    def __init__(
        self, sampler: Mapping[str, Any], searched: Mapping[str, Choices | Interval], num_objectives: int
    ) -> None:
        import optuna  # half a second: only for a search

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            built = instantiate(sampler, _convert_="all")
        except InstantiationException as error:
            said = first_line(error).partition(", set env var")[0]
            raise ConfigError(f"hydra.sweeper.sampler: {said}; take one as optuna.samplers.TPESampler") from None
        if not isinstance(built, optuna.samplers.BaseSampler):
            raise ConfigError("hydra.sweeper.sampler: expected a sampler, as optuna.samplers.TPESampler")
        self.study = optuna.create_study(directions=["minimize"] * num_objectives, sampler=built)
        self.searched = searched
        self.space = {key: _distribution(axis) for key, axis in searched.items()}
        self.failed = optuna.trial.TrialState.FAIL
        self.is_over = False

    def ask(self) -> tuple[Any, list[str]]:
        """Return a trial of Optuna's, and its overrides."""
        try:
            trial = self.study.ask(self.space)
        except (
            ValueError
        ) as error:  # a sampler with a space of its own knows choices by their text, not by their numbers
            raise ConfigError(
                f"hydra.sweeper.sampler: cannot choose among these values ({first_line(error)})"
            ) from None
        return trial, [f"{key}={_value(axis, trial.params[key])}" for key, axis in self.searched.items()]

    def tell(self, trial: Any, values: Sequence[float] | None) -> None:
        """Tell the objectives of a trial; one without them has failed."""
        try:
            if values is None:
                self.study.tell(trial, state=self.failed)
            else:
                self.study.tell(trial, list(values))
        except RuntimeError as error:  # what has tried all stops its study, which Optuna takes in its own loop alone
            if "Study.stop" not in str(error):
                raise
            self.is_over = True


def _distribution(axis: Choices | Interval) -> Any:
    """Return Optuna's distribution of an axis: of choices, their numbers."""
    from optuna import distributions

    if isinstance(axis, Choices):
        numbers = range(len(axis.values))
        ordered = distributions.IntDistribution(0, numbers[-1])
        return ordered if axis.are_ordered else distributions.CategoricalDistribution(numbers)
    if axis.is_integer:
        return distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
    return distributions.FloatDistribution(axis.low, axis.high, log=axis.is_log)


def _value(axis: Choices | Interval, chosen: Any) -> str:
    """Return a value as an override is typed."""
    return axis.values[chosen] if isinstance(axis, Choices) else repr(chosen)


def _first(axis: Choices | Interval) -> str:
    return axis.values[0] if isinstance(axis, Choices) else repr(axis.low)
