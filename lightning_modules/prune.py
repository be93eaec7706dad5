"""Global magnitude pruning, then fine-tuning of the remaining weights [HPTD15].

    keep the k weights of largest |w| over all chosen layers together,   k = ⌊share · P⌋ − (P − N)

P counts all parameters of the reference and N the weights of the chosen layers; biases, norms and other layers are
kept. There is one threshold for the network, and one pruning. The zeros stay in dense tensors: neither the file nor a
forward pass profits, and the row shows the gain as `num_nonzero`.

[HPTD15] Han, Pool, Tran & Dally, Learning both weights and connections for efficient neural networks, NIPS 2015.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Gt, Le, MinLen
from torch import nn
from torch.nn.utils import prune

from decompositions.core.site import Survey, dense_sites
from lightning_modules.core.dry_run import refuse_idle_distillation
from lightning_modules.core.method import Compressed, train_compressed
from lightning_modules.training.runner import Runner
from lightning_modules.training.schedule import Schedule
from runtime.console import say
from runtime.copies import copy_network


@dataclass(frozen=True)
class Prune:
    """Set the smallest weights to zero and fine-tune the others.

    Args:
        share: at most this share of all the reference's parameters stays nonzero.
        layers: name patterns of the layers to prune.
    """

    share: Annotated[float, Gt(0), Le(1)] = 0.1
    layers: Annotated[list[str], MinLen(1)] = field(default_factory=lambda: ["*"])

    def check(self, network: nn.Module, input_shape: Sequence[int], schedule: Schedule) -> None:
        """Raise `ValueError` if no layer can be pruned, or if the parameters that must stay exceed `share`."""
        refuse_idle_distillation(schedule, schedule.fine_tune.epochs)
        num_kept_weights(self.share, network, dense_sites(network, input_shape, self.layers))

    def compress(self, reference: nn.Module, runner: Runner) -> Compressed:
        """Return a pruned copy of `reference`, fine-tuned under a mask that keeps its zeros."""
        network = copy_network(reference).to(runner.device)
        found = dense_sites(network, runner.data.input_shape, self.layers)
        num_kept = num_kept_weights(self.share, network, found)
        layers = [site.layer for site in found.sites.values()]
        num_weights = sum(site.weight.numel() for site in found.sites.values())
        before = [site.weight.detach().double() for site in found.sites.values()]
        prune.global_unstructured(
            [(layer, "weight") for layer in layers],
            pruning_method=prune.L1Unstructured,
            amount=num_weights - num_kept,
        )
        pruned = [layer.get_buffer("weight_mask") for layer in layers]
        violation = sum(float((w * (1 - mask)).square().sum()) for w, mask in zip(before, pruned, strict=True))
        reason = f"the {num_kept:,} largest of {num_weights:,} weights, over all layers together"
        say(reason)
        train_compressed(network, reference, runner.schedule.fine_tune, "fine-tuning", runner)
        for layer in layers:
            prune.remove(layer, "weight")
        return Compressed(network, {}, _describe(found), reason, violation)


def num_kept_weights(share: float, network: nn.Module, found: Survey) -> int:
    """Return `k = ⌊share · P⌋ − (P − N)`; raises `ValueError` if no weight would be left."""
    num_params = sum(parameter.numel() for parameter in network.parameters())
    num_weights = sum(site.weight.numel() for site in found.sites.values())
    fixed = num_params - num_weights
    if (num_kept := math.floor(share * num_params) - fixed) < 1:
        least = math.ceil(1e6 * (fixed + 1) / num_params) / 1e6
        raise ValueError(
            f"share: expected at least {least:.6f}, got {share:g}: of {num_params:,} parameters "
            f"{fixed:,} are biases, norms or not chosen by layers, and stay; raise share or choose more layers"
        )
    return num_kept


def _describe(found: Survey) -> dict[str, dict[str, Any]]:
    """Return, for each layer, how many of its weights are left and its counts, or the reason why it was not pruned."""
    rows: dict[str, dict[str, Any]] = {}
    for name, site in found.sites.items():
        left, num_weights = int(site.weight.count_nonzero()), site.weight.numel()
        form = f"{left:,} of {num_weights:,} weights ({100 * left / num_weights:.1f} %)"
        rows[name] = {"rank": None, "form": form, "params": site.num_params, "macs": site.macs, "reason": None}
    return rows | {name: {"rank": None, "reason": reason} for name, reason in found.skipped.items()}
