"""Train each reference once: points with the same data, network, recipe and seed share one file.

A lock makes a second process wait and then read the file, or resume where a killed process stopped; the file appears in
one atomic step or not at all. One that is not to be used (`reference_file`) is set aside and trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from pytorch_lightning.loggers import Logger
from torch import nn

from lightning_modules.training.checkpoint import Checkpoint, origin
from lightning_modules.training.classifier import Classifier, require_finite_loss
from orchestration.config.point import Point
from orchestration.run.build import Components
from orchestration.run.rebuild import probe
from orchestration.run.reference_file import ReferenceFile, TrainedReference
from orchestration.store.reference_key import reference_folder, reference_key
from runtime.console import say
from runtime.digest import digest_bytes, digest_json
from runtime.distributed import broadcast, group
from runtime.file_lock import locked
from runtime.own_modules import OWN_MODULES
from runtime.plain_file import is_in_the_way
from runtime.set_aside import set_aside


def untrained_digest(network: nn.Module, input_shape: Sequence[int]) -> str:
    """Return a digest that tells networks apart whose code differs.

    It is made of their modules, initial values, and outputs for one batch, to 3 digits. A class of this project has no
    name in it, so that renaming one trains nothing anew.
    """
    with torch.no_grad():
        output = network.eval()(probe(input_shape))
    network.train()

    def pieces() -> Iterator[bytes | memoryview]:
        for name, module in network.named_modules():
            kind = "" if type(module).__module__.partition(".")[0] in OWN_MODULES else type(module).__name__
            yield f"{name}: {kind}({module.extra_repr()})\n".encode()
        for name, tensor in network.state_dict().items():
            yield name.encode()
            yield tensor.contiguous().view(torch.uint8).numpy().data if tensor.ndim else tensor.numpy().tobytes()
        yield str([f"{value:.3g}" for value in output.flatten().tolist()]).encode()

    return digest_bytes(pieces())


def get_reference(point: Point, components: Components, logger: Logger | None) -> TrainedReference:
    """Return the reference from the cache, or train it under the lock and store it there."""
    wanted = reference_key(point) | {
        "data": components.data.fingerprint,
        "untrained": untrained_digest(components.network(point.config["seed"]), components.data.input_shape),
    }
    file = ReferenceFile(reference_folder(point) / f"{digest_json(wanted)}.pt")

    def load() -> TrainedReference:
        return file.load(components.network(point.config["seed"]))

    if (cached := _taken(file, load, is_locked=False)) is not None:  # most points need no lock
        return cached
    file.path.parent.mkdir(parents=True, exist_ok=True)
    # Rank 0 holds the lock for all processes.
    with locked(file.path.with_suffix(".lock"), say) if group().rank == 0 else nullcontext():
        if (cached := _taken(file, load, is_locked=True)) is not None:
            return cached
        for file_path in (file.path, file.about, file.checkpoint) if group().rank == 0 else ():
            if is_in_the_way(file_path):
                say(f"no plain file is there: {file_path} moved to {set_aside(file_path)}")
        network, made, checkpoint = _train(point, components, logger, file)
        if group().rank == 0:
            file.store(network, components.rebuilder, {**made, "recipe": wanted}, components.data.preprocessing)
        checkpoint.remove()
        broadcast(None)  # wait until rank 0 has written it
        return load()


def _taken(file: ReferenceFile, load: Callable[[], TrainedReference], *, is_locked: bool) -> TrainedReference | None:
    """Return the reference that rank 0 finds in the cache; None if there is none to use.

    The holder of the lock says why what is there cannot be used, and sets it aside.
    """
    cached = None
    if group().rank == 0 and file.exists():
        try:
            cached = load()
        except (ValueError, KeyError, TypeError, OSError) as error:
            if is_locked:
                say(f"the cached reference is trained anew: {error}; it is kept as {file.set_aside().name}")
    if not broadcast(cached is not None):
        return None
    say(f"reference taken from {file.path}")
    return cached or load()


def _train(
    point: Point, components: Components, logger: Logger | None, file: ReferenceFile
) -> tuple[nn.Module, dict[str, Any], Checkpoint]:
    """Train a reference; return its network, its cost, and the checkpoint to remove once both are stored."""
    seed = point.config["seed"]
    checkpoint = Checkpoint(file.checkpoint, point.config["checkpoint_seconds"], origin(of=file.path.stem))
    checkpoint.load()
    runner = components.runner(logger, seed, checkpoint, stage="reference")
    module = Classifier(components.network(seed), components.schedule.reference)

    def train() -> tuple[nn.Module, dict[str, Any], Checkpoint]:
        runner.train(module, "reference", validate=True)
        top1 = require_finite_loss(runner.validate(module.network)).top1_percent
        seconds = checkpoint.seconds()
        say(f"reference trained: {runner.epochs} epochs, {seconds:.1f} s, validation top-1 {top1:.2f} %")
        spent = {"epochs": runner.epochs, "seconds": seconds, "device_type": runner.device.type}
        return module.network, {**spent, "validation_top1_percent": top1, "curve": module.curve}, checkpoint

    return checkpoint.go_on(train, start_over=lambda: _train(point, components, logger, file))
