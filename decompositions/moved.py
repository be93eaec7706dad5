"""Names of release 0.1: they still import, say where they went, and go in 0.3.0; delete this module then.

    from decompositions.vanished import Vanished      # DeprecationWarning: … is now decompositions.layers.base.ZeroRank

Each old module stands in `sys.modules` as one that looks its names up at the new place, so that they are the very same
objects. It is not set as an attribute of the package: `decompositions.compress` stays the function, whatever is
imported.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = {
    "als": "linalg.cp_als",
    "c_step": "search.c_step",
    "chain": "linalg.tt_contraction",
    "compress": "network.compress",
    "convolution": "layers.geometry",
    "dense_sites": "core.site",
    "factored": "layers.base",
    "format": "core.format",
    "frontier": "core.frontier",
    "in_row": "layers.base",
    "initialise": "layers.base",
    "int8_layers": "layers.int8",
    "layer_latency": "search.measure",
    "layout": "linalg.tensorize",
    "materialize": "network.materialize",
    "modes": "linalg.tensorize",
    "network_file": "network.serialization",
    "ntt_layers": "layers.ntt",
    "open_recurrent": "layers.unfuse",
    "prepare": "search.prepare",
    "probe": "search.measure",
    "recurrent": "layers.recurrent",
    "replace": "network.structure",
    "sharing": "search.parallel",
    "site": "core.site",
    "spectrum": "linalg.spectrum",
    "tensor_train": "linalg.tt_svd",
    "tt_kernel_first": "layers.tt_kernel_first",
    "tt_layers": "layers.tt",
    "tucker_layer": "layers.tucker",
    "two_factor": "core.low_rank",
    "vanished": "layers.base",
}
RENAMED = {
    "in_row.InRow": "FactoredSequential",
    "open_recurrent.open_recurrent": "unfuse_recurrent",
    "open_recurrent.why_closed": "why_fused",
    "recurrent.OpenGRU": "UnfusedGRU",
    "recurrent.OpenLSTM": "UnfusedLSTM",
    "vanished.Vanished": "ZeroRank",
}


class MovedModule(ModuleType):
    """The old module `decompositions.<old>`, whose names are looked up, with a warning, where they are now."""

    def __init__(self, old: str) -> None:
        super().__init__(f"decompositions.{old}", f"Moved to decompositions.{MODULES[old]}; goes in 0.3.0.")
        self.__spec__ = ModuleSpec(self.__name__, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself asks of any module
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        old = self.__name__.partition(".")[2]
        place, name_now = f"decompositions.{MODULES[old]}", RENAMED.get(f"{old}.{name}", name)
        value = getattr(import_module(place), name_now)
        warnings.warn(
            f"{self.__name__}.{name} is now {place}.{name_now}; the old name goes in release 0.3.0",
            DeprecationWarning,
            stacklevel=2,
        )
        return value


def register() -> None:
    """Make the old modules importable."""
    for old in MODULES:
        sys.modules.setdefault(f"decompositions.{old}", MovedModule(old))


def moved_module(name: str) -> ModuleType:
    """Return the old module `decompositions.<name>`; the package asks for attributes that it does not have."""
    if name in MODULES:
        return sys.modules[f"decompositions.{name}"]
    raise AttributeError(f"module 'decompositions' has no attribute {name!r}")
