"""Train each reference once: points with the same data, network, recipe and seed share one file.

A lock makes a second process wait and then read the file, or resume where a killed process stopped; the file appears in
one atomic step or not at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from pytorch_lightning.loggers import Logger
from torch import nn

from decompositions.network.serialization import load_network, save_network
from evaluation.result import write_json
from lightning_modules.training.checkpoint import Checkpoint, origin
from lightning_modules.training.classifier import Classifier, Diverged, require_finite_loss
from orchestration.config.point import Point
from orchestration.paths import OWN_PACKAGES
from orchestration.run.build import Components
from orchestration.store.reference_key import reference_folder, reference_key
from runtime.console import say
from runtime.digest import digest_bytes, digest_json
from runtime.distributed import broadcast, group
from runtime.file_lock import locked


@dataclass(frozen=True)
class TrainedReference:
    """A trained network, the digest of all that it depends on, and the cost of its training on a kind of device."""

    network: nn.Module
    digest: str
    epochs: int
    seconds: float
    device_type: str


def untrained_digest(network: nn.Module, input_shape: Sequence[int]) -> str:
    """Return a digest that tells networks apart whose code differs.

    It is made of their modules, initial values, and outputs for one batch, to 3 digits. A class of this project has no
    name in it, so that renaming one trains nothing anew.
    """
    images = torch.linspace(-1, 1, 2 * math.prod(input_shape)).reshape(2, *input_shape)
    with torch.no_grad():
        output = network.eval()(images)
    network.train()

    def pieces() -> Iterator[bytes | memoryview]:
        for name, module in network.named_modules():
            kind = "" if type(module).__module__.partition(".")[0] in OWN_PACKAGES else type(module).__name__
            yield f"{name}: {kind}({module.extra_repr()})\n".encode()
        for name, tensor in network.state_dict().items():
            yield name.encode()
            yield tensor.contiguous().view(torch.uint8).numpy().data if tensor.ndim else tensor.numpy().tobytes()
        yield str([f"{value:.3g}" for value in output.flatten().tolist()]).encode()

    return digest_bytes(pieces())


def _taken(path: Path, about: Path, tell: Callable[[str], None] = say) -> TrainedReference | None:
    """Return the reference that rank 0 finds in the cache; None if there is none, or it is damaged: `tell` why."""
    cached = None
    if group().rank == 0 and path.exists() and about.exists():
        try:
            cached = _load(path, about)
        except (ValueError, KeyError, TypeError, OSError) as error:
            tell(f"the cached reference is trained anew: {error}")
    if not broadcast(cached is not None):
        return None
    say(f"reference taken from {path}")
    return cached or _load(path, about)


def _load(path: Path, about: Path) -> TrainedReference:
    cost = json.loads(about.read_text(encoding="utf-8"))
    return TrainedReference(load_network(path), path.stem, cost["epochs"], cost["seconds"], cost["device_type"])


def get_reference(point: Point, components: Components, logger: Logger | None) -> TrainedReference:
    """Return the reference from the cache, or train it under the lock and store it there."""
    seed = point.config["seed"]
    network = components.network(seed)
    wanted = reference_key(point) | {
        "data": components.data.fingerprint,
        "untrained": untrained_digest(network, components.data.input_shape),
    }
    folder = reference_folder(point)
    path = folder / f"{digest_json(wanted)}.pt"
    about = path.with_suffix(".json")
    if (cached := _taken(path, about, lambda why: None)) is not None:  # most points need no lock
        return cached
    folder.mkdir(parents=True, exist_ok=True)
    # Rank 0 holds the lock for all processes.
    with locked(path.with_suffix(".lock"), say) if group().rank == 0 else nullcontext():
        checkpoint = Checkpoint(path.with_suffix(".ckpt"), point.config["checkpoint_seconds"], origin(of=path.stem))
        if (cached := _taken(path, about)) is not None:
            return cached
        checkpoint.load()
        runner = components.runner(logger, seed, checkpoint, stage="reference")
        try:
            module = Classifier(network, components.schedule.reference)
            runner.train(module, "reference", validate=True)
            top1 = require_finite_loss(runner.validate(network)).top1_percent
        except Diverged:
            checkpoint.remove()
            raise
        seconds = checkpoint.seconds()
        say(f"reference trained: {runner.epochs} epochs, {seconds:.1f} s, validation top-1 {top1:.2f} %")
        if group().rank == 0:
            save_network(path, network, components.rebuilder, structure={})
            spent = {"epochs": runner.epochs, "seconds": seconds, "device_type": runner.device.type}
            write_json(about, {**spent, "validation_top1_percent": top1, "curve": module.curve, "recipe": wanted})
        checkpoint.remove()
        broadcast(None)  # wait until rank 0 has written them
        return _load(path, about)
