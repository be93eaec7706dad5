"""A network file runs no code but that of networks: this project's, torchvision's, and what is trusted by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decompositions.network.serialization import load_network, load_weights, save_network
from networks.lenet import lenet5
from tests.decompositions.network.test_serialization import BUILDER

CALLED: list[str] = []


def harmful(**arguments):
    CALLED.append("builder")
    return nn.Linear(3, 2)


class NoFormat:
    def __init__(self, **options):
        CALLED.append("format")


def layer(dense, **arguments):
    CALLED.append("layer")
    return dense


def own(width: int = 2) -> nn.Module:
    return nn.Sequential(nn.Linear(3, width))


def write(path, target, arguments=None, structure=None):
    """A file as somebody else may have written it: with another builder than the one that saved it."""
    save_network(path, lenet5([1, 28, 28], 10), BUILDER, {})
    content = torch.load(path, weights_only=True)
    builder = content["builder"] if target is None else {"target": target, "arguments": arguments or {}}
    torch.save(content | {"builder": builder, "structure": structure or {}}, path)
    return path


HERE = "tests.decompositions.network.test_trust"
CUSTOM = {"input_shape": [3], "num_classes": 2, "arguments": {"command": "touch harmed"}}


@pytest.mark.parametrize(
    ("target", "arguments", "structure"),
    [
        ("posix.system", {"command": "touch harmed"}, None),
        ("os.system", {"command": "touch harmed"}, None),
        ("subprocess.getoutput", {"cmd": "touch harmed"}, None),
        ("builtins.exec", {"source": "open('harmed', 'w')"}, None),
        ("networks.custom.custom", CUSTOM | {"target": "posix.system"}, None),
        ("networks.custom.custom", CUSTOM | {"target": f"{HERE}.harmful"}, None),
        ("networks.custom.import_named", {"path": "antigravity.x"}, None),
        ("torchvision.datasets.utils.download_url", {"url": "file:///etc/hostname", "root": "harmed"}, None),
        ("torchvision.models._api.load_state_dict_from_url", {"url": "file:///etc/hostname"}, None),
        (
            "decompositions.network.serialization.build_network",
            {"builder": {"target": "posix.system", "arguments": {"command": "touch harmed"}}},
            None,
        ),
        (f"{HERE}.harmful", {}, None),
        ("networkss.harmful", {}, None),
        (None, None, {"fc1": {"format": f"{HERE}.NoFormat", "options": {}, "rank": 2}}),
        (None, None, {"fc1": {"rebuild": f"{HERE}.layer", "arguments": {}}}),
        (None, None, {"fc1": {"rebuild": "decompositions.network.serialization.save_network", "arguments": {}}}),
    ],
)
def test_what_is_not_trusted_is_not_called(tmp_path, monkeypatch, target, arguments, structure):
    path = write(tmp_path / "network.pt", target, arguments, structure)
    monkeypatch.chdir(tmp_path)
    CALLED.clear()
    with pytest.raises(ValueError, match=r"network\.pt: '.* is (not of|of Python's own library)") as caught:
        load_network(path)
    assert len(str(caught.value).splitlines()) == 1
    assert not CALLED
    assert [each.name for each in tmp_path.iterdir()] == ["network.pt"]


def test_no_function_is_taken_for_a_format(tmp_path):
    structure = {"fc1": {"format": "decompositions.network.serialization.build_network", "options": {}, "rank": 1}}
    with pytest.raises(ValueError, match="is no format"):
        load_network(write(tmp_path / "network.pt", None, structure=structure))


def test_own_networks_are_tried_when_they_are_saved_and_need_trust_to_be_loaded(tmp_path):
    network, path = own(4), tmp_path / "network.pt"
    save_network(path, network, {"target": f"{HERE}.own", "arguments": {"width": 4}}, {})
    with pytest.raises(ValueError, match=r"allow its code with trust=\['tests'\]"):
        load_network(path)
    for trust in (["tests"], ["numpy", HERE], HERE):
        assert torch.equal(load_network(path, trust=trust)[0].weight, network[0].weight)
    for trust in (["test"], ["tests.decompositions.network.test_trus"], [""]):
        with pytest.raises(ValueError, match="is not of"):
            load_network(path, trust=trust)


def test_a_network_of_torchvision_needs_no_trust(tmp_path):
    from torchvision.models import squeezenet1_1

    network = squeezenet1_1(num_classes=3)
    builder = {"target": "torchvision.models.squeezenet1_1", "arguments": {"num_classes": 3}}
    save_network(tmp_path / "network.pt", network, builder, {})
    loaded = load_network(tmp_path / "network.pt")
    assert torch.equal(loaded.classifier[1].weight, network.classifier[1].weight)


def test_weights_alone_are_read_whatever_the_file_names(tmp_path):
    path = write(tmp_path / "network.pt", "posix.system", {"command": f"touch {tmp_path}/harmed"})
    network = load_weights(path, lenet5([1, 28, 28], 10))
    assert torch.equal(network.fc2.weight, torch.load(path, weights_only=True)["state"]["fc2.weight"])
    assert not network.training
    assert not (tmp_path / "harmed").exists()
    for other in (lenet5([1, 28, 28], 9), nn.Linear(3, 2)):
        with pytest.raises(ValueError, match=r"network\.pt: of another network"):
            load_weights(path, other)
