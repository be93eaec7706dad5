"""Quantisation to int8 after training, dynamic or static [Jac18]; nothing is trained.

Weights get one scale for each output. Inputs get one for each sample, in every forward pass (`QuantiseDynamic`, linear
layers), or one for each layer, from the smallest and largest value on some batches of the training part
(`QuantiseStatic`, convolutions too). Outputs, biases, norms and activations stay float32.

Why there are layers of our own (`decompositions.layers.int8`), as measured with torch 2.15 on two cores with
AVX512-VNNI: `torch.ao.quantization` and its quantised tensors are deprecated. torchao 0.18's
`Int8DynamicActivationInt8WeightConfig` has no convolutions and takes 15 times the float time at batch 1 and 1.2 times
at batch 256 (LeNet300) without torch.compile. Its pt2e is meant for torch.compile, which took 13 to 37 s and a C++
compiler for LeNet5; it takes 1.3 to 6 times the float time without, and its state keeps the float weights beside the
int8 ones. The kernels that both call, `torch._int_mm` and oneDNN's convolution, need no compiler and no package.

[Jac18] Jacob et al., Quantization and training of neural networks for integer-arithmetic-only inference, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, MinLen
from torch import Tensor, nn

from decompositions.core.site import Survey, dense_sites, listed
from decompositions.layers.int8 import int8_layer, require_kernels, why_float
from decompositions.layers.stand_in import take_place
from lightning_modules.core.dry_run import refuse_idle_distillation
from lightning_modules.core.method import Compressed
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Schedule
from runtime.copies import copy_network

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class QuantiseDynamic:
    """Linear layers in int8, their inputs scaled in every pass; `layers` are name patterns."""

    trains: ClassVar[bool] = False  # the weights are rounded, not trained
    runs_on: ClassVar[tuple[str, ...]] = ("cpu",)  # the kernels are the CPU's
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if no layer can be quantised, or this machine has no int8 kernels."""
        refuse_idle_distillation(schedule, 0)
        require_kernels(static=False)
        find_quantisable(network, input_shape, self.layers, static=False)

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Return the network with rounded weights."""
        found = find_quantisable(reference, runner.data.input_shape, self.layers, static=False)
        return quantise_layers(reference, found, None, "int8, one scale an output; inputs: one a sample, in every pass")


@dataclass(frozen=True)
class QuantiseStatic:
    """Linear layers and convolutions in int8, their inputs scaled as on `num_batches` batches of the training part.

    `layers` are name patterns.
    """

    trains: ClassVar[bool] = False  # the weights are rounded, not trained
    runs_on: ClassVar[tuple[str, ...]] = ("cpu",)
    num_batches: Annotated[int, Ge(1)] = 8
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if no layer can be quantised, or this machine has no int8 kernels."""
        refuse_idle_distillation(schedule, 0)
        require_kernels(static=True)
        find_quantisable(network, input_shape, self.layers, static=True)

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Return the network with rounded weights, and the ranges of the inputs from the training part."""
        found = find_quantisable(reference, runner.data.input_shape, self.layers, static=True)
        images = [images for images, _ in islice(runner.train_batches(), self.num_batches)]
        ranges = calibrate(reference, found, images)
        seen = sum(len(batch) for batch in images)
        return quantise_layers(
            reference, found, ranges, f"int8, one scale an output; inputs: one a layer, from {seen} training samples"
        )


def find_quantisable(network: nn.Module, input_shape: Sequence[int], layers: Sequence[str], *, static: bool) -> Survey:
    """Return the layers that get int8 weights, and why the others stay float; raises `ValueError` if there are none."""
    found = dense_sites(network, input_shape, layers)
    refused = {name: why for name, site in found.sites.items() if (why := why_float(site.layer, static))}
    sites = {name: site for name, site in found.sites.items() if name not in refused}
    if not sites:
        raise ValueError(f"the network has no layer to quantise ({listed(found.skipped | refused)})")
    return replace(found, sites=sites, skipped=found.skipped | refused)


def calibrate(network: nn.Module, found: Survey, batches: Sequence[Tensor]) -> Ranges:
    """Return the smallest and largest input of each layer over `batches`; `network` itself is not changed."""
    network = copy_network(network).eval()
    ranges: Ranges = {}

    def record(name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Tensor]) -> None:
            low, high = (float(end) for end in inputs[0].aminmax())
            before = ranges.get(name, (low, high))
            ranges[name] = min(low, before[0]), max(high, before[1])

        return hook

    for name in found.sites:
        network.get_submodule(name).register_forward_pre_hook(record(name))
    with torch.no_grad():
        for images in batches:
            network(images)
    return ranges


def quantise_layers(reference: nn.Module, found: Survey, ranges: Ranges | None, reason: str) -> Compressed:
    """Return a copy of `reference` with int8 layers at the sites of `found`: static ones if `ranges` are given."""
    network = copy_network(reference)
    static = ranges is not None
    violation = 0.0
    layers: dict[str, dict[str, Any]] = {}
    for name, site in found.sites.items():
        dense = network.get_submodule(name)
        layer = int8_layer(dense, static, *(ranges[name] if ranges is not None else ()))
        violation += float((site.weight.detach().double() - layer.to_tensor().double()).square().sum())
        take_place(network, name, layer.train(dense.training))
        num_params = sum(parameter.numel() for parameter in layer.parameters())
        layers[name] = {"rank": None, "form": "int8", "params": num_params, "macs": site.macs, "reason": None}
    skipped = {name: {"rank": None, "reason": why} for name, why in found.skipped.items()}
    entry = {"rebuild": f"{int8_layer.__module__}.{int8_layer.__name__}", "arguments": {"static": static}}
    return Compressed(network, dict.fromkeys(found.sites, entry), layers | skipped, reason, violation)
