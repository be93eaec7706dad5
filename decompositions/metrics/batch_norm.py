"""The scale of the batch norm behind a layer: `G_out = diag((γ / √(σ² + ε))²)`, of the weight that inference folds.

Without a norm behind it a layer keeps the identity. Nothing is read of the data but in which order the network calls
its layers; LRPET projects such rectified weights [GXL24].

[GXL24] Guo et al., Low-rank projection and energy transfer, IEEE TNNLS 2024 (its abstract alone was at hand).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from decompositions.core.metric import Batches, Reduce, SiteMetric, alone
from decompositions.core.site import Site
from decompositions.metrics.passes import run_inputs, watching


@dataclass(frozen=True)
class BatchNorm:
    """Read the scales of batch norms that get a layer's output as it is."""

    needs_data: ClassVar[bool] = False
    num_samples: ClassVar[int] = 1

    def measure(
        self,
        network: nn.Module,
        sites: Mapping[str, Site],
        batches: Batches,
        all_reduce: Reduce = alone,
    ) -> dict[str, SiteMetric]:
        """Return the metric of each site with a batch norm behind it, from one pass of one batch."""
        outputs: dict[int, tuple[str, Tensor]] = {}  # the tensors are kept, so that no other gets their id
        found: dict[str, SiteMetric] = {}

        def see(name: str, layer: nn.Module, x: Tensor, y: Tensor) -> None:
            if not isinstance(layer, nn.Linear) or y.ndim == 2:  # of a sequence the norm sees another axis as channels
                outputs[id(y)] = name, y

        def see_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(norm, _BatchNorm)
            if id(inputs[0]) in outputs and norm.running_var is not None:
                scale = (norm.running_var.double() + norm.eps).rsqrt()
                scale = scale if norm.weight is None else scale * norm.weight.detach().double()
                found[outputs[id(inputs[0])][0]] = SiteMetric(out=(scale.square(),))

        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        handles = [norm.register_forward_pre_hook(see_norm) for norm in norms]
        try:
            with watching(sites, see):
                run_inputs(network, batches, self.num_samples)
        finally:
            for handle in handles:
                handle.remove()
        return found
