"""The mean of each input of a layer, or of a function of it, over all positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from decompositions.core.metric import Batches, Reduce
from decompositions.core.site import Site
from decompositions.metrics.passes import count_over_processes, run_inputs, watching
from decompositions.metrics.patches import patches_in_parts


def input_means(
    network: nn.Module,
    sites: Mapping[str, Site],
    batches: Batches,
    num_samples: int,
    all_reduce: Reduce,
    of: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> dict[str, Tensor]:
    """Return the means `(in·kernel,)` of `of(inputs)`, by layer, from one pass over the inputs."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def see(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
        for rows in patches_in_parts(layer, x, y):
            sums[name] = sums.get(name, 0) + of(rows).sum(0)
            counts[name] = counts.get(name, 0) + len(rows)

    with watching(sites, see):
        run_inputs(network, batches, num_samples)
    return {name: all_reduce(sums[name]) / count_over_processes(counts[name], all_reduce) for name in sums}
