"""How a point computes: device, precision, and what trades memory or exactness for time; a YAML file of conf/trainer.

The network that is measured is a plain one again: channels-last and compilation are of training alone, and a row's
latencies are those of float32 in the usual layout, whatever trained the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from torch import Tensor, nn

from runtime.identity import NotIdentity

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True)
class TrainerConfig:
    """Options of training that any network and method can have.

    `devices` of each of `num_nodes` machines train together, a process each, on a part of every batch; gradients are
    averaged.
    `precision` is Lightning's name of it. Gradients of `accumulate` batches are added before a step. `deterministic`
    refuses operators that do not repeat their bits. `channels_last` keeps the weights of convolutions, and so their
    activations, with the channels innermost. `compile` runs the network through `torch.compile`, anew for each
    structure. `limit_batches` reads so many batches of each part and no more: such rows say nothing about accuracy.
    The loss goes to the logger every `log_every_n_steps` steps.
    """

    accelerator: Literal["cpu", "gpu"]
    devices: Annotated[int, Ge(1)] = 1
    num_nodes: Annotated[int, Ge(1)] = 1
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    accumulate: Annotated[int, Ge(1)] = 1
    deterministic: bool = False
    channels_last: bool = False
    compile: bool = False
    limit_batches: Annotated[int, Ge(1)] | None = None
    log_every_n_steps: Annotated[int, Ge(1), NotIdentity()] = 50

    @property
    def num_processes(self) -> int:
        """How many processes train together, on all machines."""
        return self.devices * self.num_nodes

    def __post_init__(self) -> None:
        if self.accelerator == "cpu" and self.precision == "16-mixed":  # Lightning would take bfloat16 in silence
            raise ValueError("precision=16-mixed: expected a GPU, got accelerator=cpu; take bf16-mixed")

    def trainer(self, epochs: int, callbacks: list[Callback]) -> Trainer:
        """A new Trainer for one phase; raises what Lightning raises where the device is not there."""
        return Trainer(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.num_nodes,
            strategy="ddp" if self.num_processes > 1 else "auto",
            # Torchrun says who is who; what Slurm says of a job is not of the processes that Lightning sees.
            plugins=[TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()],
            precision=self.precision,
            accumulate_grad_batches=self.accumulate,
            deterministic=self.deterministic,  # said even if false: it is a switch of the whole process
            log_every_n_steps=self.log_every_n_steps,
            max_epochs=epochs,
            callbacks=callbacks,
            logger=False,  # metrics go through Runner.log: a new Trainer would begin again at step 0
            enable_checkpointing=bool(callbacks),  # ours alone
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    def device(self) -> torch.device:
        """Where the Trainer would run; raises what Lightning raises if it cannot."""
        return self.trainer(0, []).strategy.root_device

    @contextmanager
    def prepared(self, network: nn.Module) -> Iterator[Callable[[Tensor], Any]]:
        """What to call in the place of `network` while it trains; afterwards it is a plain one again."""
        layouts = LAYOUTS if self.channels_last else {}

        def call(samples: Tensor) -> Any:  # no module: it would become a part of the one that holds it
            return network(_laid_out(samples, layouts))

        for parameter in network.parameters():
            parameter.data = _laid_out(parameter.data, layouts)
        try:
            yield torch.compile(call) if self.compile else call
        finally:
            for parameter in network.parameters():
                parameter.data = parameter.data.contiguous()


def _laid_out(tensor: Tensor, layouts: Mapping[int, torch.memory_format]) -> Tensor:
    layout = layouts.get(tensor.dim())
    return tensor if layout is None else tensor.contiguous(memory_format=layout)
