"""Names of release 0.1 still import: the very same objects, with a warning that says where they went."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

import decompositions
from decompositions import load_network
from decompositions.layers.int8 import DynamicLinear, int8_layer
from decompositions.moved import MODULES, RENAMED

# One name of each module of 0.1 that is gone.
NAMES = {
    "als": "fit",
    "c_step": "RankSearch",
    "chain": "plan",
    "compress": "CompressionReport",
    "convolution": "part_of",
    "dense_sites": "dense_sites",
    "factored": "Factored",
    "format": "Format",
    "frontier": "pareto_frontier",
    "in_row": "InRow",
    "initialise": "initialise",
    "int8_layers": "int8_layer",
    "layer_latency": "layer_latency_ms",
    "layout": "Layout",
    "materialize": "Merge",
    "modes": "balanced",
    "network_file": "build_network",
    "ntt_layers": "NTTLinear",
    "open_recurrent": "open_recurrent",
    "prepare": "prepare",
    "probe": "Probe",
    "recurrent": "OpenLSTM",
    "replace": "replace_layers",
    "sharing": "Processes",
    "site": "Site",
    "spectrum": "scaled",
    "tensor_train": "tt_svd",
    "tt_kernel_first": "TTKernelFirst",
    "tt_layers": "TTLinear",
    "tucker_layer": "TuckerLinear",
    "two_factor": "TwoFactors",
    "vanished": "Vanished",
}


def test_every_moved_module_is_tried_here():
    assert set(NAMES) == set(MODULES)


@pytest.mark.parametrize("name", sorted({*(f"{old}.{name}" for old, name in NAMES.items()), *RENAMED}))
def test_an_old_name_is_the_new_object_and_says_where_it_is_now(name):
    old, _, attribute = name.partition(".")
    new = f"decompositions.{MODULES[old]}.{RENAMED.get(name, attribute)}"
    with pytest.warns(DeprecationWarning) as caught:
        found = getattr(importlib.import_module(f"decompositions.{old}"), attribute)
    module, _, now = new.rpartition(".")
    assert found is getattr(importlib.import_module(module), now)
    assert [str(w.message) for w in caught] == [
        f"decompositions.{name} is now {new}; the old name goes in release 0.3.0"
    ]


def test_every_way_to_write_an_import(recwarn):
    code = """
        import decompositions.site
        import decompositions.frontier as frontier
        from decompositions import sharing
        from decompositions.vanished import Vanished
        from decompositions.layers.base import ZeroRank
        from decompositions.core.site import Site
        assert decompositions.site.Site is Site and Vanished is ZeroRank
        assert frontier.Frontier and sharing.Alone
    """
    exec("\n".join(line.strip() for line in code.splitlines()), {})
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        exec("from decompositions.site import Nothing", {})
    with pytest.raises(ModuleNotFoundError, match=r"decompositions\.nowhere"):
        importlib.import_module("decompositions.nowhere")
    with pytest.raises(AttributeError, match="has no attribute 'nowhere'"):
        _ = decompositions.nowhere


def test_functions_of_the_package_stay_functions_whatever_is_imported():
    """In a fresh process, where the old module is imported for the first time."""
    code = (
        "import decompositions.compress, decompositions.initialise, decompositions.materialize\n"
        "from decompositions import compress, initialise, materialize\n"
        "from decompositions.compress import CompressionReport, compress as same\n"
        "assert compress is same is decompositions.compress and compress.__name__ == 'compress'\n"
        "assert initialise.__name__ == 'initialise' and materialize.__name__ == 'materialize'\n"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "DeprecationWarning: decompositions." in line]
    assert len(told) == 2, "one a name, none for the modules"
    assert all(line.startswith("<string>:3: ") for line in told), "they point at the line to change"
    new = "from decompositions import compress, core, linalg; from decompositions.core.site import Site"
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", new], check=True)


def test_files_of_release_0_1_are_read_without_a_warning(tmp_path):
    """They name the functions that rebuild their layers by the modules of that time."""
    dense = nn.Sequential(nn.Linear(6, 5), nn.LSTM(5, 4))
    layer = int8_layer(dense[0], static=False)
    dense[0] = layer
    keys = {f"1.{part}_l0.{kind}": f"1.{kind}_{part}_l0" for part in ("ih", "hh") for kind in ("weight", "bias")}
    state = dense.state_dict()
    content = {
        "version": 1,
        "builder": {"target": "tests.decompositions.test_moved.build", "arguments": {}},
        "structure": {
            "0": {"rebuild": "decompositions.int8_layers.int8_layer", "arguments": {"static": False}},
            "1": {"opened": True},
            "1.ih_l0": {"format": "decompositions.svd.SVD", "options": {}, "rank": 0},
        },
        "state": {
            **{key: value for key, value in state.items() if key.startswith("0.")},
            **{new: state[old] for new, old in keys.items() if new != "1.ih_l0.weight"},
        },
    }
    torch.save(content, tmp_path / "network.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        network = load_network(tmp_path / "network.pt", trust=["tests"])
    assert isinstance(network[0], DynamicLinear)
    assert torch.equal(network[0].weight, layer.weight)


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.LSTM(5, 4))
