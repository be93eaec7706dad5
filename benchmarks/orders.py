"""Every order of contracting a tensor train, measured: is the planned one the best, and how near is that to dense?

python -m benchmarks.orders [--rounds 7] [--device cpu]

Orders that need more than four times the multiply-adds of the dense layer are left out.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.layers import MODES
from benchmarks.ratios import medians
from decompositions.layers.tt import TTLinear
from decompositions.linalg.tt_contraction import Plan, multiply, orders, plan
from decompositions.tt import TT

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
        chosen = plan(layer.shapes, batch, arguments.device, backward=backward)
        found = orders(layer.shapes, batch, arguments.device, (False, True), backward)
        plans = {repr(order): order for order in found if order.macs <= 4 * dense.weight.numel() * max(batch, 40)}
        plans[repr(chosen)] = chosen
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
