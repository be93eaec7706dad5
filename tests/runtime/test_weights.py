"""Weights from files, into networks of any kind: what fits is loaded, all else is one line."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from runtime.weights import put_weights, read_weights


def network(classes=4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, classes))


@pytest.mark.parametrize("ending", ["pt", "pth", "safetensors"])
def test_a_file_of_either_kind_gives_the_same_network(tmp_path, ending):
    state = network().state_dict()
    path = tmp_path / f"w.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save(state, path)
    other = network()
    for tensor in other.state_dict().values():
        tensor.zero_()
    put_weights(other, read_weights(path), "w", new_head=False)
    assert all(torch.equal(value, state[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pt", b"no weights", "cannot be read"),
        ("a.safetensors", b"abc", "cannot be read"),
        ("a.safetensors", (10**6).to_bytes(8, "little") + b"{}", "cannot be read"),
        ("a.safetensors", save({"w": torch.zeros(3)})[:-4], "cannot be read"),
    ],
)
def test_damaged_files_are_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_weights(tmp_path / name)
    assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)


def test_a_checkpoint_of_more_than_weights_says_what_to_do(tmp_path):
    torch.save({"model": network().state_dict(), "epoch": 3}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=r"is a checkpoint; .*checkpoint\['model'\]"):
        read_weights(tmp_path / "c.pt")


def test_another_number_of_classes_needs_a_new_head():
    state, wanted = network(7).state_dict(), network(4)
    with pytest.raises(ValueError, match=r"expected 4 classes, got 7 classes; network\.new_head=true"):
        put_weights(wanted, state, "w", new_head=False)
    before = wanted[3].weight.detach().clone()
    wanted[0].weight.data.zero_()
    put_weights(wanted, state, "w", new_head=True)
    assert torch.equal(wanted[3].weight, before) and torch.equal(wanted[0].weight, state["0.weight"])


@pytest.mark.parametrize("change", [{"0.weight": torch.zeros(1)}, {"odd": torch.zeros(1)}, {"1.running_mean": None}])
def test_weights_of_another_network_are_refused(change):
    state = {key: value for key, value in (network().state_dict() | change).items() if value is not None}
    with pytest.raises(ValueError, match=f"of another network: {next(iter(change))} does not fit"):
        put_weights(network(), state, "w", new_head=True)


def test_a_network_without_a_linear_layer_has_no_head():
    wanted, other = nn.LayerNorm(3), nn.LayerNorm(3)
    other.weight.data.fill_(2.0)
    put_weights(wanted, other.state_dict(), "w", new_head=False)
    assert torch.equal(wanted.weight, other.weight)


def test_a_last_layer_whose_weight_is_computed_is_told_too():
    normed = nn.Sequential(nn.Linear(4, 3), nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    state = {key: value for key, value in normed.state_dict().items() if not key.startswith("1.")}
    with pytest.raises(ValueError, match="of another last layer, 1: expected no such layer, got no such layer"):
        put_weights(normed, state, "w", new_head=False)
