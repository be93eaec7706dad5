"""Replacing, describing, saving and loading whole networks."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from decompositions.cur import CUR
from decompositions.network.serialization import load_network, save_network
from decompositions.network.structure import describe, replace_layers, restore
from decompositions.svd import SVD
from networks.lenet import lenet5

BUILDER = {"target": "networks.lenet.lenet5", "arguments": {"input_shape": [1, 28, 28], "num_classes": 10}}


def compressed_lenet(format):
    torch.manual_seed(0)
    dense = lenet5([1, 28, 28], 10)
    ranks = {"conv2": 7, "fc1": 3, "fc2": 0, "conv1": None}
    weights = {name: dense.get_submodule(name).weight.detach() for name in ranks}
    factors = {n: format.analyse(weights[n]).decompose(r) for n, r in ranks.items() if r is not None}
    return dense, replace_layers(dense, format, factors), describe(format, ranks)


@pytest.mark.parametrize("format", [SVD(), CUR()], ids=["svd", "cur"])
def test_replacing_leaves_the_original_alone_and_restoring_rebuilds(format):
    dense, compressed, structure = compressed_lenet(format)
    assert isinstance(dense.conv2, nn.Conv2d)
    assert set(structure) == {"conv2", "fc1", "fc2"}
    rebuilt = restore(lenet5([1, 28, 28], 10), structure)
    rebuilt.load_state_dict(compressed.state_dict())
    x = torch.randn(2, 1, 28, 28)
    assert torch.equal(rebuilt.eval()(x), compressed.eval()(x))
    assert torch.equal(copy.deepcopy(compressed)(x), compressed(x))


def test_a_saved_network_works_in_a_fresh_process(tmp_path):
    _, compressed, structure = compressed_lenet(SVD())
    path = tmp_path / "network.pt"
    save_network(path, compressed, BUILDER, structure)
    x = torch.randn(2, 1, 28, 28)
    torch.save(x, tmp_path / "x.pt")
    code = (
        "import sys, torch; from decompositions import load_network; "
        f"torch.save(load_network(r'{path}')(torch.load(r'{tmp_path / 'x.pt'}')), r'{tmp_path / 'y.pt'}'); "
        "assert not {'pytorch_lightning', 'hydra', 'wandb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert torch.equal(torch.load(tmp_path / "y.pt"), compressed.eval()(x))
    assert [p.name for p in tmp_path.glob(".network*")] == [], "no temporary file is left"


@pytest.mark.parametrize(
    "content", [{"builder": "x"}, {"builder": {}}, {"builder": {"target": "networks.nope", "arguments": {}}}]
)
def test_a_file_without_what_builds_its_network_is_refused(tmp_path, content):
    torch.save({"version": 1, "structure": {}, "state": {}} | content, tmp_path / "network.pt")
    with pytest.raises(ValueError, match=r"network\.pt: does not fit what"):
        load_network(tmp_path / "network.pt")


def test_a_file_that_no_longer_fits_its_builder_is_refused(tmp_path):
    path = tmp_path / "network.pt"
    save_network(path, lenet5([1, 28, 28], 10), BUILDER, {})
    content = torch.load(path, weights_only=True)
    content["builder"]["arguments"]["num_classes"] = 9
    torch.save(content, path)
    with pytest.raises(
        ValueError, match=r"network\.pt: does not fit what networks\.lenet\.lenet5 builds now"
    ) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"junk", None, {"version": 99}], ids=["empty", "junk", "cut", "foreign"])
def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "network.pt"
    if isinstance(content, dict):
        torch.save(content, path)
    elif content is None:
        save_network(path, lenet5([1, 28, 28], 10), BUILDER, {})
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"network\.pt: ") as caught:
        load_network(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        load_network(tmp_path / "absent.pt")
