"""Compressed layers against dense ones, tensorly-torch and tednet at their releases, forward and with backward.

python -m benchmarks.layers [--rounds 5] [--device cpu]        needs the extra: pip install -e '.[bench]'

Every line is a ratio of medians of turns within this process.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable

import tensorly
import torch
from torch import Tensor, nn

from benchmarks.ratios import medians, report
from decompositions.ntt import NTT
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2

SECONDS_PER_TURN = 0.1
MODES = {"1024": [4, 8, 8, 4], "25088": [7, 7, 8, 8, 8], "4096": [4, 4, 4, 8, 8]}


def main() -> None:
    """Print a line for each piece of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="of the layers: cpu or cuda")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    for size, rank, batch in [(s, r, b) for s in ((1024, 1024),) for r in (8, 16) for b in (1, 128, 1024)]:
        tt_linear(size, rank, batch, arguments)
    tt_linear((25088, 4096), 16, 128, arguments)
    for batch in (1, 32, 128):
        tucker_convolution(batch, arguments)
    for layer, shape in ((nn.Linear(1024, 1024), (128, 1024)), (nn.Conv2d(256, 256, 3, padding=1), (32, 256, 14, 14))):
        nonlinear_train(layer, shape, arguments)


def tt_linear(size: tuple[int, int], rank: int, batch: int, arguments: argparse.Namespace) -> None:
    """A TT linear layer, forward and forward with backward, against dense, tensorly-torch and tednet."""
    from tednet.tnn.tensor_train import TTLinear as Tednet
    from tltorch import FactorizedLinear

    tensorly.set_backend("pytorch")
    dense = nn.Linear(*size)
    into, out = MODES[str(size[0])], MODES[str(size[1])]
    bonds = [rank] * (len(into) - 1)
    zeros = TT(modes=MODES).zeros(dense.weight, tuple(bonds))
    ours = TT(modes=MODES).layer(
        dense, type(zeros)(tuple(torch.randn_like(c) * 0.1 for c in zeros.cores), zeros.layout)
    )
    layers = {
        "ours": ours,
        "dense": dense,
        "tltorch": FactorizedLinear(
            tuple(into),
            tuple(out),
            bias=True,
            factorization="blocktt",
            rank=(1, *bonds, 1),
            implementation="factorized",
        ),
        "tednet": Tednet(into, out, bonds),
    }
    for parameter in layers["tltorch"].parameters():
        nn.init.normal_(parameter, std=0.1)
    _compare_layers(f"TT {size[0]}→{size[1]} r {rank} batch {batch}", layers, (batch, size[0]), arguments)


def tucker_convolution(batch: int, arguments: argparse.Namespace) -> None:
    """A Tucker-2 convolution 256→256, 3×3, 14×14, rank 64, against dense and tensorly-torch."""
    from tltorch import FactorizedConv

    tensorly.set_backend("pytorch")
    dense = nn.Conv2d(256, 256, 3, padding=1)
    ours = Tucker2(0).layer(dense, Tucker2(0).analyse(dense.weight.detach()).decompose((64, 64)))
    peer = FactorizedConv.from_conv(dense, rank=(64, 64, 3, 3), factorization="tucker", implementation="factorized")
    layers = {"ours": ours, "dense": dense, "tltorch": peer}
    _compare_layers(f"Tucker-2 256→256 3×3 r 64 batch {batch}", layers, (batch, 256, 14, 14), arguments)


def nonlinear_train(dense: nn.Module, shape: tuple[int, ...], arguments: argparse.Namespace) -> None:
    """A nonlinear tensor train of rank 8 (convolution: 32) against the same contractions without activations."""
    format = NTT(modes=MODES | {"256": [16, 16]})
    rank = (8, 8, 8) if isinstance(dense, nn.Linear) else (16, 32, 32, 16)
    assert isinstance(dense.weight, Tensor)
    ours = format.layer(dense, format.analyse(dense.weight.detach()).decompose(rank))
    bare = copy.deepcopy(ours)
    bare.phis = nn.ModuleList(nn.Identity() for _ in ours.phis)  # type: ignore[arg-type, union-attr]
    train = TT(modes=format.modes)
    planned = train.layer(dense, train.analyse(dense.weight.detach()).decompose(rank))
    title = f"NTT {type(dense).__name__} ranks {rank} batch {shape[0]}"
    _compare_layers(title, {"ours": ours, "the same contractions": bare, "planned TT": planned}, shape, arguments)


def _compare_layers(
    title: str, layers: dict[str, nn.Module], shape: tuple[int, ...], arguments: argparse.Namespace
) -> None:
    x = torch.randn(shape, device=arguments.device)
    layers = {name: layer.to(arguments.device) for name, layer in layers.items()}

    def forward(layer: nn.Module) -> Callable[[], object]:
        return lambda: _synchronised(_evaluated(layer, x))

    def backward(layer: nn.Module) -> Callable[[], object]:
        return lambda: _synchronised(layer(x).sum().backward())

    for what, make in (("forward", forward), ("forward+backward", backward)):
        repeats = _repeats(make(layers["ours"]))
        work = {name: _repeated(make(layer), repeats) for name, layer in layers.items()}
        seconds = medians(work, arguments.rounds)
        for peer in [name for name in layers if name != "ours"]:
            report(f"{title} {what}, against {peer}", seconds["ours"] / repeats, seconds[peer] / repeats, "")


@torch.no_grad()
def _evaluated(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)


def _synchronised(result: object) -> object:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result


def _repeats(run: Callable[[], object]) -> int:
    """As many passes as fill a turn: the first ones after a pause meet cold caches and sleeping threads."""
    for _ in range(3):
        run()
    start = time.perf_counter()
    run()
    return max(1, math.ceil(SECONDS_PER_TURN / (time.perf_counter() - start)))


def _repeated(run: Callable[[], object], times: int) -> Callable[[], object]:
    return lambda: [run() for _ in range(times)]


if __name__ == "__main__":
    main()
