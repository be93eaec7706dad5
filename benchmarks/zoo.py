"""Does a compressed network still do what a network does? Architectures of torchvision and awkward ones, in formats.

    python -m benchmarks.zoo                               # every family, SVD, Tucker-2 and TT: an hour on two cores
    python -m benchmarks.zoo --only resnet18 attention --formats svd --onnx

Each is compressed at rank 4, nothing is trained. A cell of the Markdown table says `ok` or what failed first: counts of
the report against those of the compressed network, a pass in evaluation mode, a deep copy, saving and loading, with
`--onnx` the export (if the dense network has one), and a training step in which every parameter gets a gradient.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision.models
from torch import Tensor, nn

from decompositions import compress, load_network, save_network
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker2 import Tucker2
from evaluation.counts import count_macs
from runtime.messages import one_line

FORMATS: dict[str, Any] = {"svd": SVD(), "tucker2": Tucker2(), "tt": TT(2)}
# One of each family, with the side of its images.
TORCHVISION = {
    "alexnet": 96, "vgg11_bn": 64, "squeezenet1_1": 64, "googlenet": 96, "inception_v3": 96, "densenet121": 64,
    "resnet18": 64, "resnext50_32x4d": 64, "wide_resnet50_2": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64,
    "shufflenet_v2_x1_0": 64, "mnasnet0_5": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64, "regnet_y_400mf": 64,
    "convnext_tiny": 64, "vit_b_32": 224, "swin_t": 64, "swin_v2_t": 64, "maxvit_t": 224,
}  # fmt: skip


class Decides(nn.Module):
    """Its pass needs values, and a tensor on a fixed device."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu() + torch.ones(32)
        return self.last(x if float(x.mean()) > 0 else -x)


class Tagger(nn.Module):
    """A recurrent network."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.rnn, self.head = kind(16, 24, batch_first=True, bidirectional=True), nn.Linear(48, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Attention(nn.Module):
    """Torch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(1))


def computed() -> nn.Module:
    """Return a network with weights that are no parameters of their layers."""
    norm = nn.utils.parametrizations
    layers = [norm.weight_norm(nn.Linear(16, 32)), nn.ReLU(), norm.spectral_norm(nn.Linear(32, 32)), nn.Linear(32, 8)]
    return nn.Sequential(*layers)


def upsampling() -> nn.Module:
    """Return a network with transposed convolutions and norms of one sample."""
    layers = [nn.Conv2d(3, 16, 3, 2, 1), nn.InstanceNorm2d(16), nn.PReLU(16), nn.ConvTranspose2d(16, 16, 2, 2)]
    return nn.Sequential(
        *layers, nn.Conv2d(16, 16, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8)
    )


def decides() -> nn.Module:
    return Decides()


def attention() -> nn.Module:
    return Attention()


def lstm() -> nn.Module:
    return Tagger(nn.LSTM)


def gru() -> nn.Module:
    return Tagger(nn.GRU)


AWKWARD: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "decides": (decides, (16,)), "lstm": (lstm, (7, 16)), "gru": (gru, (7, 16)), "attention": (attention, (7, 16)),
    "computed": (computed, (16,)), "upsampling": (upsampling, (3, 16, 16)),
}  # fmt: skip


def main() -> None:
    """Print the table, a line a network as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*AWKWARD, *TORCHVISION], metavar="NETWORK")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=[*FORMATS])
    parser.add_argument("--onnx", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(
        "\n".join(["| network | " + " | ".join(arguments.formats) + " |", "|---" * (1 + len(arguments.formats)) + "|"])
    )
    for name in arguments.only or [*AWKWARD, *TORCHVISION]:
        builder, shape = described(name)
        cells = [said(builder, shape, FORMATS[format], arguments.onnx) for format in arguments.formats]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def described(name: str) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Return how a network is built, and the shape of a sample."""
    if name in AWKWARD:
        build, shape = AWKWARD[name]
        return {"target": f"benchmarks.zoo.{build.__name__}", "arguments": {}}, shape
    arguments = {"weights": None, "num_classes": 8}
    arguments |= {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    arguments |= {"aux_logits": False} if name == "googlenet" else {}
    return {"target": f"torchvision.models.{name}", "arguments": arguments}, (3, TORCHVISION[name], TORCHVISION[name])


def said(builder: dict[str, Any], shape: tuple[int, ...], format: Any, onnx: bool) -> str:
    """Return `ok` and the compression, or what failed."""
    torch.manual_seed(0)
    try:
        return tried(builder, shape, format, onnx)
    except Exception as error:
        return f"{type(error).__name__}: {one_line(error)[:200]}".replace("|", "/")


def tried(builder: dict[str, Any], shape: tuple[int, ...], format: Any, onnx: bool) -> str:
    """Compress a network and use it in every way; raise what goes wrong."""
    name = builder["target"].rpartition(".")[2]
    build = AWKWARD[name][0] if name in AWKWARD else getattr(torchvision.models, name)
    model, x = build(**builder["arguments"]).eval(), torch.randn(2, *shape)
    small, report = compress(model, format, ranks=4, example_input=x)
    require(sum(p.numel() for p in small.parameters()) == report.num_params, "parameters are not those of the report")
    require(count_macs(small, shape) == report.macs, "MACs are not those of the report")
    with torch.no_grad():
        y = small(x)
        require(y.shape == (2, 8) and bool(y.isfinite().all()), "the pass is wrong")
        require(torch.equal(copy.deepcopy(small)(x), y), "a deep copy differs")
    with tempfile.TemporaryDirectory() as folder:
        save_network(Path(folder) / "small.pt", small, builder, report.structure)
        loaded = load_network(Path(folder) / "small.pt", trust=["benchmarks"])
        with torch.no_grad():
            require(torch.allclose(loaded(x), y, atol=1e-5), "a loaded network differs")
    has_onnx = onnx and exports(model, x)
    if has_onnx:
        require(exports(small, x), "its ONNX export fails, and that of the dense network does not")
    outputs = small.train()(torch.cat([x, x]))
    outputs = outputs if isinstance(outputs, Tensor) else outputs[0]
    outputs.square().sum().backward()
    idle = [name for name, p in small.named_parameters() if p.requires_grad and p.grad is None and "Aux" not in name]
    require(not idle, f"no gradient for {', '.join(idle[:3])}")
    smaller = f"ok, {report.dense_params / report.num_params:.1f}× smaller"
    return f"{smaller}; the dense one has no ONNX export" if onnx and not has_onnx else smaller


def exports(model: nn.Module, x: Tensor) -> bool:
    """Return True if torch exports a network to ONNX; what it prints on its way is dropped."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            torch.onnx.export(model, (x,), dynamo=True, verbose=False)
        except Exception:  # of many kinds: torch's own, onnxscript's, the network's
            return False
    return True


def require(holds: bool, otherwise: str) -> None:
    """Raise `RuntimeError` unless a claim holds."""
    if not holds:
        raise RuntimeError(otherwise)


if __name__ == "__main__":
    main()
