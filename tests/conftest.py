"""Shapes and types are checked at every call in the tests; composing configurations as run.py does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

ROOT = Path(__file__).parent.parent

# Tensors as small as the tests' are no faster on more threads.
torch.set_num_threads(1)

# Before anything of ours is imported: jaxtyping's annotations become checks.
install_import_hook(["decompositions", "datamodules", "evaluation", "networks"], "beartype.beartype")

# What must be given, by network, for the files that ask for it.
GIVEN = {
    "torchvision": ["network.name=squeezenet1_1"],
    "custom": ["network.target=networks.mlp.mlp", "+network.arguments.hidden=[8]"],
}

TINY = (
    "logger=none",
    "schedule.reference.epochs=2",
    "schedule.l_step.epochs=1",
    "schedule.fine_tune.epochs=1",
    "schedule.penalty.num_steps=2",
)


@pytest.fixture
def make_point(tmp_path: Path, monkeypatch) -> Callable[..., object]:
    """Compose and check a point with its results under the test's folder; where it is run, its clocks are short."""
    from hydra import compose, initialize_config_dir

    from evaluation import latency
    from orchestration.config import resolvers
    from orchestration.config.point import Point

    monkeypatch.setattr(latency, "NUM_ROUNDS", 1)
    monkeypatch.setattr(latency, "SECONDS_PER_ROUND", 1e-4)

    def make(*overrides: str, tiny: bool = True) -> Point:
        resolvers.register()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            wanted = [f"results_dir={tmp_path / 'results'}", *(TINY if tiny else ()), *overrides]
            config = compose("config", overrides=wanted, return_hydra_config=True)
        return Point.from_hydra(config, config.hydra)

    return make


@pytest.fixture
def without_gpu(monkeypatch) -> None:
    """A machine without a GPU, also where there is one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def dropout_mlp(input_shape, num_classes, hidden, activation="relu"):
    """A network whose training draws random numbers, for the tests that compare runs."""
    from torch import nn

    from networks.mlp import mlp

    return nn.Sequential(nn.Dropout(0.3), mlp(input_shape, num_classes, hidden, activation))
