"""Does the error that a metric predicts say which compression keeps the accuracy? One-shot points, nothing is trained.

    python -m benchmarks.one_shot --results results --csv one_shot.csv mnist/lenet300 mnist/lenet5 [--seeds 0 1 2]

Each reference (trained where the cache has none) is compressed by every format, at several budgets, in every metric,
with and without normalised errors. A line of the file has the accuracies of the outcome, and its error as each metric
measures it on training data, summed over the layers: relative to each weight's norm, and in the metric's own units.
`--print` reads the file and prints Spearman's rank correlation of each error with the accuracy lost on the validation
part, and the mean errors of each metric, which decide whether errors are normalised where that is not chosen.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from hydra import compose as compose_config
from hydra import initialize_config_dir
from torch import nn

from decompositions.core.format import Factors
from decompositions.core.metric import SiteMetric
from decompositions.cp import CP
from decompositions.cur import CUR
from decompositions.metrics.activation import Activation
from decompositions.metrics.covariance import Covariance
from decompositions.metrics.fisher import Fisher
from decompositions.metrics.gram import Gram
from decompositions.metrics.kfac import KFAC
from decompositions.metrics.layer import Layer
from decompositions.metrics.recovery import biases_for
from decompositions.network.structure import replace_layers
from decompositions.rank_search.budget import Budget
from decompositions.search.c_step import RankSearch
from decompositions.search.prepare import prepare
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker import Tucker
from lightning_modules.training.runner import Runner
from orchestration.config import resolvers
from orchestration.config.point import Point
from orchestration.paths import CONF
from orchestration.run.build import build_components
from orchestration.run.reference import get_reference

SHARES = (0.03, 0.05, 0.1, 0.2, 0.4)
FORMATS: dict[str, Any] = {"svd": SVD(), "cur": CUR(), "tucker": Tucker(), "tt": TT(), "cp": CP()}
METRICS: dict[str, Any] = {
    "gram": Gram(), "covariance": Covariance(), "kfac": KFAC(), "activation": Activation(), "fisher": Fisher(),
    "layer": Layer(),
}  # fmt: skip


def main() -> None:
    """Write the file, or print what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="dataset/network, and overrides after commas")
    parser.add_argument("--results", default="results")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--print", action="store_true")
    arguments = parser.parse_args()
    if not arguments.print:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            writer = None
            for task in arguments.tasks:
                for seed in arguments.seeds:
                    for row in rows(task, seed, arguments.results):
                        writer = writer or begun(file, row)
                        writer.writerow(row)
                        file.flush()
    summarise(arguments.csv)


def begun(file: Any, row: dict[str, Any]) -> Any:
    """Return a writer whose header is written."""
    writer = csv.DictWriter(file, [*row], lineterminator="\n")
    writer.writeheader()
    return writer


def rows(task: str, seed: int, results: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each format, budget, metric and normalisation."""
    name, *overrides = task.split(",")
    dataset, network_name = name.split("/")
    runner, network = reference(dataset, network_name, seed, results, overrides)
    before = top1(runner, network)
    batches = list(runner.calibration_batches(4096))
    shape = runner.data.input_shape
    measured: dict[str, dict[str, SiteMetric]] = {"identity": {}}
    for metric_name, metric in METRICS.items():
        sites = prepare(network, shape, SVD(), Budget(0.5)).sites  # type: ignore[arg-type]
        measured[metric_name] = metric.measure(network, sites, batches)
    for format_name, format in FORMATS.items():
        if format_name == "cp" and not any(isinstance(module, nn.Conv2d) for module in network.modules()):
            continue  # CP of a matrix is its SVD
        for metric_name, metrics in measured.items():
            search = replace(prepare(network, shape, format, Budget(0.5)), metrics=metrics)  # type: ignore[arg-type]
            analyses = search.analyse(search.weights)
            for share, normalize in itertools.product(SHARES, (True, False)):
                row = {"task": name, "seed": seed, "format": format_name, "share": share, "metric": metric_name}
                row["normalize"] = normalize
                of_share = replace(search, rule=Budget(share), normalize=normalize)  # type: ignore[arg-type]
                try:
                    choice = of_share.choose(of_share.problem(analyses, 1.0))
                except ValueError:  # no ranks are small enough
                    continue
                factors = analyses.factors(choice.ranks)
                yield row | outcome(runner, network, of_share, factors, measured, before)


def outcome(
    runner: Runner,
    network: nn.Module,
    search: RankSearch,
    factors: dict[str, Factors],
    measured: dict[str, dict[str, SiteMetric]],
    before: tuple[float, float],
) -> dict[str, Any]:
    """Return the accuracies with these factors, and their errors in every metric."""
    weights, tensors = search.weights, {layer: each.to_tensor() for layer, each in factors.items()}
    means = {layer: metric.mean for layer, metric in search.metrics.items() if metric.mean is not None}
    biases = biases_for(search.sites, tensors, means)
    after = top1(runner, replace_layers(network, search.format, factors, biases))
    found: dict[str, Any] = {
        "validation_error": 100 - after[0],
        "test_error": 100 - after[1],
        "validation_lost": before[0] - after[0],
        "test_lost": before[1] - after[1],
    }
    for name, of_metric in measured.items():
        relative, absolute = 0.0, 0.0
        for layer, tensor in tensors.items():
            metric = of_metric.get(layer, SiteMetric())
            error = metric.squared_error(weights[layer] - tensor)
            absolute += error
            relative += error / max(metric.squared_error(weights[layer]), math.ulp(0.0))
        found |= {f"{name}_relative": relative, f"{name}_absolute": absolute}
    return found


def reference(dataset: str, network: str, seed: int, results: str, overrides: list[str]) -> tuple[Runner, nn.Module]:
    """Return what evaluates the networks of a task, and its trained reference."""
    resolvers.register()
    wanted = [f"dataset={dataset}", f"network={network}", f"seed={seed}", "method=reference", "logger=none"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose_config(
            "config", overrides=[*wanted, f"results_dir={results}", *overrides], return_hydra_config=True
        )
    point = Point.from_hydra(config, config.hydra)
    components = build_components(point)
    components.data.setup()
    trained = get_reference(point, components, None).network.eval()
    return Runner(components.data, components.schedule, components.trainer_config, None, seed), trained


def top1(runner: Runner, network: nn.Module) -> tuple[float, float]:
    """Return the accuracies on the validation and the test part, in percent."""
    return runner.validate(network).top1_percent, runner.test(network).top1_percent


def summarise(path: Path) -> None:
    """Print mean errors of metrics, and correlations of predicted errors with the accuracy lost."""
    with path.open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    errors = [key for key in table[0] if key.endswith(("_relative", "_absolute"))]
    for task in dict.fromkeys(row["task"] for row in table):
        of_task = [row for row in table if row["task"] == task]
        print(f"\n{task}: {len(of_task)} points\n\nmean validation error, by metric and normalisation")
        for metric in dict.fromkeys(row["metric"] for row in of_task):
            for normalize in ("True", "False"):
                chosen = [r for r in of_task if r["metric"] == metric and r["normalize"] == normalize]
                by_format = {
                    f: np.mean([float(r["validation_error"]) for r in chosen if r["format"] == f])
                    for f in dict.fromkeys(r["format"] for r in chosen)
                }
                shown = "  ".join(f"{f} {mean:6.2f}" for f, mean in by_format.items())
                print(f"  {metric:11} normalize={normalize:5}  {shown}")
        print("\nrank correlation of the predicted error with the accuracy lost on the validation part")
        print("  all points; then the mean over (format, budget) of that among their points")
        for error in errors:
            of_all = correlation(of_task, error)
            groups: dict[tuple[str, str], list[dict[str, str]]] = {}
            for row in of_task:
                groups.setdefault((row["format"], row["share"]), []).append(row)
            inside = [c for c in (correlation(group, error) for group in groups.values()) if not math.isnan(c)]
            print(f"  {error:22} {of_all:6.3f}  {np.mean(inside):6.3f}")


def correlation(table: list[dict[str, str]], error: str) -> float:
    """Return Spearman's rank correlation."""
    predicted, lost = ([float(row[key]) for row in table] for key in (error, "validation_lost"))
    if len(set(predicted)) < 2 or len(set(lost)) < 2:
        return math.nan
    return float(scipy.stats.spearmanr(predicted, lost).statistic)


if __name__ == "__main__":
    main()
