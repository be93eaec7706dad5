"""The written stand-in of UCF11: whole files, motions that only several frames show, and networks that learn them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from datamodules.video import moving_digits
from datamodules.video.moving_digits import MOTIONS, NUM_GROUPS, MovingDigits, draw, encode, write_files

SMALL = {"height": 24, "width": 32}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """All clips, written and decoded once."""
    folder = tmp_path_factory.mktemp("moving_digits")
    MovingDigits(str(folder), **SMALL).prepare_data()
    return folder


def loaded(root: Path, **options) -> MovingDigits:
    data = MovingDigits(str(root), **SMALL | options)
    data.setup()
    return data


def test_the_tree_is_that_of_ucf11(root):
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.mpg"))
    assert len(files) == 11 * 25 * 3 == 825
    assert files[0] == "UCF11_updated_mpg/anticlockwise/v_anticlockwise_01/v_anticlockwise_01_01.mpg"
    data = loaded(root)
    assert (data.input_shape, data.num_classes) == ((6, 3, 24, 32), 11)
    assert data.split == (
        "moving digits, split by group: 561 train, 99 validation (groups 4, 14, 24), "
        "165 test (groups 5, 10, 15, 20, 25); 6 frames of 24×32"
    )
    assert torch.bincount(data.test.labels).tolist() == [15] * 11


def test_files_are_written_once_whole_and_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(moving_digits, "MOTIONS", dict(list(MOTIONS.items())[:2]))
    monkeypatch.setattr(moving_digits, "NUM_CLIPS", 1)
    write_files(tmp_path)
    files = sorted(tmp_path.rglob("*.mpg"))
    assert len(files) == 50
    content = files[7].read_bytes()
    files[7].unlink()
    encoded = []
    monkeypatch.setattr(moving_digits, "encode", lambda frames, path: encoded.append(path) or encode(frames, path))
    write_files(tmp_path)
    assert len(encoded) == 1, "only what is missing"
    assert files[7].read_bytes() == content
    files[3].unlink()
    monkeypatch.setattr(moving_digits, "encode", lambda frames, path: path.write_bytes(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_files(tmp_path)
    assert not files[3].exists()
    assert not list(tmp_path.rglob(".*"))


def test_no_digit_is_in_two_groups(monkeypatch, tmp_path):
    drawn: dict[bytes, set[int]] = {}
    monkeypatch.setattr(moving_digits, "encode", lambda frames, path: path.touch())
    monkeypatch.setattr(moving_digits, "draw", lambda digit, motion, rng: drawn.setdefault(digit.tobytes(), set()))
    for group in range(1, NUM_GROUPS + 1):
        files = [each for each in moving_digits._files() if each[1][1] == group]
        with monkeypatch.context() as patch:
            patch.setattr(moving_digits, "_files", lambda files=files: iter(files))
            before = set(drawn)
            write_files(tmp_path / str(group))
            assert not before & {key for key in drawn if key not in before}
        for key in set(drawn) - before:
            drawn[key].add(group)
    real = {image.tobytes() for image in load_digits().images}
    assert set(drawn) <= real
    assert all(len(groups) == 1 for groups in drawn.values())
    assert len(drawn) > 400


@pytest.mark.parametrize("name", [name for name, motion in MOTIONS.items() if not motion[2]])
def test_a_digit_moves_as_its_class_says(name):
    right, down, _ = MOTIONS[name]
    digit = load_digits().images[3]
    frames = draw(digit, MOTIONS[name], np.random.default_rng(0))
    for time in range(1, len(frames)):
        assert np.array_equal(frames[time], np.roll(frames[0], (down * time, right * time), axis=(0, 1)))


def test_clockwise_is_the_other_way_round():
    """The direction of the digit's longest extent grows towards the bottom when it turns clockwise."""
    digit = np.zeros((8, 8))
    digit[3:5, 4:8] = 16  # a hand that points away from the middle
    for name, sign in (("clockwise", 1), ("anticlockwise", -1)):
        frames = draw(digit, MOTIONS[name], np.random.default_rng(1))[..., 0].astype(float)
        weights = frames - frames.min()
        x = np.exp(2j * np.pi * np.arange(64) / 64)
        y = np.exp(2j * np.pi * np.arange(48) / 48)
        across = np.unwrap(np.angle((weights * x).sum((1, 2)))) * 64 / (2 * np.pi)
        along = np.unwrap(np.angle((weights * y[:, None]).sum((1, 2)))) * 48 / (2 * np.pi)
        centre_x, centre_y = (values - (values.max() + values.min()) / 2 for values in (across, along))
        turned = np.diff(np.unwrap(np.arctan2(centre_y, centre_x)))  # y points down: clockwise is positive
        assert np.sign(np.median(turned)) == sign


def test_a_single_frame_does_not_tell_the_class(root):
    """Ridge regression on one frame is no better than chance, 1/11, within its noise on 264 clips."""
    data = loaded(root)

    def frame(batches):
        samples, labels = (torch.cat(both) for both in zip(*batches, strict=True))
        return samples[:, 4, 0].flatten(1).double(), labels

    seen, labels = frame(data.train_batches(600, 0))
    targets = nn.functional.one_hot(labels, 11).double()
    solution = torch.linalg.solve(seen.T @ seen + 30 * torch.eye(seen.shape[1]), seen.T @ targets)
    parts = [frame(data.test_batches()), frame(data.validation_batches())]
    right = sum(((pixels @ solution).argmax(1) == labels).sum().item() for pixels, labels in parts)
    assert right / 264 < 0.18


class Convolutions(nn.Sequential):
    """A small 3-D CNN."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 16, (1, 2, 2)), (16, 32, (1, 2, 2)), (32, 32, 1)):
            layers += [nn.Conv3d(before, after, 3, padding=1, stride=stride), nn.ReLU()]
        super().__init__(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 11))


class Recurrent(nn.Module):
    """An LSTM on whole frames."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3 * 24 * 32, 64, batch_first=True)
        self.out = nn.Linear(64, 11)

    def forward(self, frames):
        return self.out(self.lstm(frames.flatten(2))[0][:, -1])


@pytest.mark.slow
@pytest.mark.parametrize(("network", "view", "epochs"), [(Convolutions, "clips", 8), (Recurrent, "frames", 8)])
def test_networks_learn_the_motions(root, network, view, epochs):
    data = loaded(root, view=view)
    torch.manual_seed(0)
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    batches = data.train_batches(32, seed=0)
    for batches.epoch in range(epochs):
        for samples, labels in batches:
            loss = nn.functional.cross_entropy(net(samples), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        right = torch.cat([net(samples).argmax(1) == labels for samples, labels in data.test_batches()])
    assert right.float().mean() > 0.4, "chance is 0.09"


def test_a_damaged_file_and_a_root_that_is_no_folder_are_named(root, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match=r"file: the clips cannot be written there .*set dataset.root") as caught:
        MovingDigits(str(tmp_path / "file")).prepare_data()
    assert "\n" not in str(caught.value)
    path = next(root.rglob("v_still_07_01.mpg"))
    content = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{path}: not a readable video .*; delete it, and it is written again$"):
        loaded(root)
    path.write_bytes(content)


def test_a_point_composes(make_point, root):
    from orchestration.errors import ConfigError
    from orchestration.run.build import build_components

    small = [f"dataset.root={root}", "dataset.height=24", "dataset.width=32"]
    parts = build_components(make_point("dataset=moving_digits", "network=mlp", "method=svd", *small))
    assert parts.data.input_shape == (6, 3, 24, 32)
    with pytest.raises(ConfigError, match="flip"):
        make_point("dataset=moving_digits", "+dataset.flip=true")
