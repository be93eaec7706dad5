"""The formats against TensorLy, tensorly-torch and tednet at their releases: decompositions, rank choice, layers.

python -m benchmarks.formats                    needs the extra: pip install -e '.[bench]'

Every line is a ratio of medians of turns within this process; the peers do what they are made for (one rank, where the
work here is all ranks).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import tensorly
import torch
from tensorly.decomposition import partial_tucker, tensor_train
from torch import Tensor, nn

from benchmarks.ratios import medians, report
from decompositions.frontier import Unfolding
from decompositions.rank_search.vbmf import evbmf_rank
from decompositions.site import survey
from decompositions.svd import singular_energy
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2

MODES = {"1024": [4, 8, 8, 4], "25088": [7, 7, 8, 8, 8], "4096": [4, 4, 4, 8, 8]}


def main() -> None:
    """Print a line for each piece of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="of the layers: cpu or cuda")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    decompositions(arguments.rounds)
    for size, rank, batch in [(s, r, b) for s in ((1024, 1024),) for r in (8, 16) for b in (1, 128, 1024)]:
        tt_linear(size, rank, batch, arguments)
    tt_linear((25088, 4096), 16, 128, arguments)
    for batch in (1, 32, 128):
        tucker_convolution(batch, arguments)


def decompositions(rounds: int) -> None:
    """Frontier and chosen factors of a 512×512×3×3 weight against one decomposition at one rank."""
    tensorly.set_backend("numpy")
    layer = nn.Conv2d(512, 512, 3, padding=1)
    site = survey(nn.Sequential(layer), (512, 14, 14)).sites["0"]
    weight, array = layer.weight.detach(), layer.weight.detach().double().numpy()

    def ours(format: Any, rank: tuple[int, ...]) -> Callable[[], object]:
        return lambda: (format.frontier(weight, site), format.decompose(weight, rank))

    def peer(run: Callable[..., object], **options: Any) -> Callable[[], object]:
        return lambda: run(array, **options)

    work = {
        "ours": ours(Tucker2(sweeps=0), (128, 128)),
        "peer": peer(partial_tucker, rank=[128, 128], modes=[0, 1], n_iter_max=1),
    }
    _compare(
        "Tucker-2 of 512×512×3×3, all ranks and factors, against one tensorly.partial_tucker", work, rounds, "<= 1/8"
    )
    plain = TT(num_modes=2, modes={"512": [512]})
    train = array.transpose(0, 2, 3, 1).reshape(512, 9, 512)
    work = {"ours": ours(plain, (128, 128)), "peer": lambda: tensor_train(train, rank=[1, 128, 128, 1])}
    _compare("TT-SVD of 512×512×3×3, all ranks and factors, against one tensorly.tensor_train", work, rounds, "<= 1/3")
    matrix = weight.flatten(1)
    work = {
        "ours": lambda: evbmf_rank(Unfolding(singular_energy(weight), tuple(matrix.shape))),  # type: ignore[arg-type]
        "peer": lambda: evbmf_rank(Unfolding(torch.linalg.svd(matrix.double())[1].square(), tuple(matrix.shape))),  # type: ignore[arg-type]
    }
    _compare("EVBMF of a 512×4608 unfolding against the same from a full SVD", work, min(rounds, 2), "<= 1/50")


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
    ours = Tucker2(sweeps=0).layer(dense, Tucker2(sweeps=0).analyse(dense.weight.detach()).decompose((64, 64)))
    peer = FactorizedConv.from_conv(dense, rank=(64, 64, 3, 3), factorization="tucker", implementation="factorized")
    layers = {"ours": ours, "dense": dense, "tltorch": peer}
    _compare_layers(f"Tucker-2 256→256 3×3 r 64 batch {batch}", layers, (batch, 256, 14, 14), arguments)


def _compare_layers(
    title: str, layers: dict[str, nn.Module], shape: tuple[int, ...], arguments: argparse.Namespace
) -> None:
    x = torch.randn(shape, device=arguments.device)
    layers = {name: layer.to(arguments.device) for name, layer in layers.items()}

    def forward(layer: nn.Module) -> Callable[[], object]:
        return lambda: _synchronised(_evaluated(layer, x))

    def backward(layer: nn.Module) -> Callable[[], object]:
        return lambda: _synchronised(layer(x).sum().backward())

    repeats = max(1, min(50, math.ceil(2e8 / x.numel() / 1000)))
    for what, make in (("forward", forward), ("forward+backward", backward)):
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


def _repeated(run: Callable[[], object], times: int) -> Callable[[], object]:
    return lambda: [run() for _ in range(times)]


def _compare(title: str, work: dict[str, Callable[[], object]], rounds: int, goal: str) -> None:
    seconds = medians(work, rounds)
    report(title, seconds["ours"], seconds["peer"], f"goal {goal}")


if __name__ == "__main__":
    main()
