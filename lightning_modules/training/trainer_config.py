"""Configure how a point computes: device, precision, and options that trade exactness for time (conf/trainer).

Channels-last and compilation apply only to training. The network that is measured is a plain one again, so that a row's
latencies are those of float32 in the usual layout, however the weights were trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from torch import Tensor, nn

from lightning_modules.training.compiled import COMPILER
from runtime.identity import AsBefore, NotIdentity

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True)
class TrainerConfig:
    """Options of training that apply to any network and method.

    Args:
        accelerator: "cpu" or "gpu".
        devices: how many devices of each machine train together, one process each, on a part of every batch; their
            gradients are averaged.
        num_nodes: how many machines do so.
        precision: of training, in Lightning's words; "16-mixed" needs a GPU.
        accumulate: how many batches' gradients are added up before a step.
        deterministic: raise an error at operators whose bits do not repeat.
        tf32: let a GPU round the factors of float32 products and convolutions to ten bits, for latency too.
        channels_last: keep the weights of convolutions, and so their activations, with the channels innermost.
        compile: run the network through `torch.compile`, again for each structure.
        limit_batches: read only so many batches of each part; the accuracies of such a row mean nothing.
        log_every_n_steps: log the training loss every so many steps.
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
    tf32: Annotated[bool, AsBefore(False)] = False

    @property
    def num_processes(self) -> int:
        """Return how many processes train together, on all machines.

        >>> TrainerConfig("gpu", devices=4, num_nodes=2).num_processes
        8
        """
        return self.devices * self.num_nodes

    def __post_init__(self) -> None:
        if self.accelerator == "cpu" and self.precision == "16-mixed":  # Lightning would silently take bfloat16
            raise ValueError("precision=16-mixed: expected a GPU, got accelerator=cpu; take bf16-mixed")
        if self.accelerator == "cpu" and self.tf32:
            raise ValueError("tf32=true: expected a GPU, got accelerator=cpu; leave it out")

    def trainer(self, epochs: int, callbacks: list[Callback], *, has_unused: bool = False) -> Trainer:
        """Return a new Trainer for one phase of `epochs`; raises what Lightning raises if there is no such device.

        `has_unused` says that some parameters get no gradient, for which several processes would wait.
        """
        # Switches of the whole process, as `deterministic` below. Torch's own defaults round convolutions and not
        # products, which favours formats made of convolutions.
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32
        several = "ddp_find_unused_parameters_true" if has_unused else "ddp"
        return Trainer(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.num_nodes,
            strategy=several if self.num_processes > 1 else "auto",
            # Torchrun sets the ranks. Lightning must not read Slurm's variables, which describe other processes.
            plugins=[TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()],
            precision=self.precision,
            accumulate_grad_batches=self.accumulate,
            deterministic=self.deterministic,  # passed even if false: it sets a switch of the whole process
            log_every_n_steps=self.log_every_n_steps,
            max_epochs=epochs,
            callbacks=callbacks,
            logger=False,  # metrics go through Runner.log: each new Trainer would restart at step 0
            enable_checkpointing=bool(callbacks),  # our own callback only
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    def device(self) -> torch.device:
        """Return the device of the Trainer; raises what Lightning raises if there is no such device."""
        return self._root_device

    @cached_property
    def _root_device(self) -> torch.device:  # a Trainer takes 0.05 s to build, and a point asks five times
        return self.trainer(0, []).strategy.root_device

    @contextmanager
    def training_forward(self, network: nn.Module) -> Iterator[Callable[[Tensor], Any]]:
        """Yield the function to call instead of `network` while it trains: laid out and compiled as the options say.

        After the block the network is a plain one again.
        """
        layouts = LAYOUTS if self.channels_last else {}

        def call(samples: Tensor) -> Any:  # a function, as a module would become part of the one that holds it
            return network(_with_layout(samples, layouts))

        for parameter in network.parameters():
            parameter.data = _with_layout(parameter.data, layouts)
        try:
            with COMPILER.compiled(network, call) if self.compile else nullcontext(call) as forward:
                yield forward
        finally:
            for parameter in network.parameters():
                parameter.data = parameter.data.contiguous()


def _with_layout(tensor: Tensor, layouts: Mapping[int, torch.memory_format]) -> Tensor:
    layout = layouts.get(tensor.dim())
    return tensor if layout is None else tensor.contiguous(memory_format=layout)
