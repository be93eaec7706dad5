"""Every order of contracting a tensor train, measured: is the planned one the best, and how near is that to dense?

python -m benchmarks.orders [--rounds 7] [--device cpu]

Orders that need more than four times the multiply-adds of the dense layer are left out.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.layers import MODES
from benchmarks.ratios import medians
from decompositions.chain import Plan, _count, multiply, plan, prices_of
from decompositions.tt import TT
from decompositions.tt_layers import TTLinear

CASES = [((1024, 1024), rank, batch) for rank in (8, 16) for batch in (1, 128, 1024)] + [((25088, 4096), 16, 128)]


def main() -> None:
    """Print a line for each case: the chosen and the best order, against the dense layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    for (size, rank, batch), backward in itertools.product(CASES, (False, True)):
        dense = nn.Linear(*size, device=arguments.device)
        format = TT(modes=MODES)
        layer = format.layer(dense, format.zeros(dense.weight.detach(), (rank,) * (len(MODES[str(size[0])]) - 1)))
        assert isinstance(layer, TTLinear)
        layer.reset(1.0)
        x = torch.randn(batch, size[0], device=arguments.device)
        chosen = replace(plan(layer.shapes, batch, arguments.device, backward=backward), price=0.0)
        plans = {repr(order): order for order in [chosen, *orders(layer, batch, arguments.device)]}
        work = {
            name: partial(passes, partial(contract, x, layer, order), batch, backward) for name, order in plans.items()
        }
        work["dense"] = partial(passes, partial(dense, x), batch, backward)
        seconds = medians(work, arguments.rounds)
        best = min(plans, key=lambda name: seconds[name])
        chosen_ratio, best_ratio = (seconds[name] / seconds["dense"] for name in (repr(chosen), best))
        what = "forward+backward" if backward else "forward"
        print(
            f"TT {size[0]}→{size[1]} r {rank} batch {batch} {what}: chosen {chosen_ratio:.2f} of dense, "
            f"the best of {len(plans)} orders {best_ratio:.2f} {plans[best].groups}",
            flush=True,
        )


def contract(x: Tensor, layer: TTLinear, order: Plan) -> Tensor:
    """The layer's product in this order."""
    return multiply(x, list(layer.cores), order)


def orders(layer: TTLinear, batch: int, device: str) -> list[Plan]:
    """Every grouping from both ends, all rows at once or as many as fit in the cache."""
    found = []
    cached = prices_of(device).cached_bytes
    for cuts in itertools.product((False, True), repeat=len(layer.shapes) - 1):
        ends = [0, *(k + 1 for k, cut in enumerate(cuts) if cut), len(layer.shapes)]
        groups = tuple(itertools.pairwise(ends))
        for from_left in (False, True):
            macs, _, widest = _count(layer.shapes, groups, from_left, batch)
            if macs <= 4 * layer.in_features * layer.out_features * max(batch, 40):
                fitting = batch if cached is None else max(1, min(batch, cached // (4 * widest)))
                found += [Plan(groups, from_left, macs, chunk) for chunk in {batch, fitting}]
    return found


def passes(run: Callable[[], Tensor], batch: int, backward: bool) -> None:
    """As many passes as a small batch needs to fill a turn, waited for."""
    for _ in range(max(1, 256 // batch)):
        with torch.set_grad_enabled(backward):
            y = run()
        if backward:
            y.sum().backward()
    if y.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
