"""Small trees in UCF11's official layout: which clips are in which part, and what a batch holds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.data import Batches
from datamodules.video import cache
from datamodules.video.batches import DEVIATION, MEAN
from datamodules.video.cache import open_clip
from datamodules.video.decode import Frames, decode
from datamodules.video.ucf11 import UCF11
from datamodules.video.ucf11_split import part_of_group
from tests.datamodules.video.ucf11_trees import loaded
from tests.datamodules.video.videos import WORDS, write_tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Three classes of ten groups with two clips."""
    root = tmp_path_factory.mktemp("ucf11")
    write_tree(root, range(1, 11))
    return root


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    """Three classes of five groups with one clip; for the tests that change files."""
    write_tree(tmp_path, clips=1)
    return tmp_path


def groups(data: UCF11) -> list[set[tuple[int, int]]]:
    """The (label, group) pairs of the three parts, from the names of the files alone."""
    parts = []
    for part in (data.train, data.validation, data.test):
        numbers = [int(path.name.split(".")[0].split("_")[-2]) for path in part.paths]
        parts.append(set(zip(part.labels.tolist(), numbers, strict=True)))
    return parts


def test_a_label_is_the_folder_and_the_frames_are_those_of_the_files(tree):
    data = loaded(tree)
    assert (data.input_shape, data.num_classes) == ((6, 3, 12, 16), 3)
    names = sorted(WORDS)
    seen = 0
    for part, batches in ((data.test, data.test_batches()), (data.validation, data.validation_batches())):
        samples, labels = (torch.cat(both) for both in zip(*batches, strict=True))
        for sample, label, path in zip(samples, labels.tolist(), part.paths, strict=True):
            stem = path.name.split(".")[0]
            source = next((tree / "UCF11_updated_mpg" / names[label]).glob(f"*/{stem}.mpg"))
            pixels = decode(source, Frames(6, 12, 16)).astype(np.float64) / 255
            expected = (pixels - np.reshape(MEAN, (3, 1, 1))) / np.reshape(DEVIATION, (3, 1, 1))
            assert np.allclose(sample.numpy(), expected, atol=1e-5)
            seen += 1
    assert seen == len(data.test) + len(data.validation)


def test_the_moments_are_those_of_torchvision():
    from torchvision.models.video import R3D_18_Weights

    published = R3D_18_Weights.DEFAULT.transforms()
    assert tuple(published.mean) == MEAN
    assert tuple(published.std) == DEVIATION


@pytest.mark.parametrize("protocol", ["group_split", "five_fold", "clip_split"])
def test_every_clip_is_in_one_part(tree, protocol):
    data = loaded(tree, protocol=protocol, fold=2 if protocol == "five_fold" else None)
    paths = [path for part in (data.train, data.validation, data.test) for path in part.paths]
    assert len(paths) == len(set(paths)) == 60
    train, validation, test = groups(data)
    shared = (train & test) | (train & validation) | (validation & test)
    assert bool(shared) == (protocol == "clip_split"), "by clip, parts share scenes; by group they do not"


def test_the_written_split_names_what_was_done(tree):
    assert loaded(tree).split == (
        "UCF11, split by group: 42 train, 6 validation (groups 4), 12 test (groups 5, 10); 6 frames of 12×16"
    )
    assert loaded(tree, protocol="five_fold", fold=0, num_frames=None).split == (
        "UCF11, five folds by group, fold 0 tested: 42 train, 6 validation (groups 5), 12 test (groups 1, 6); "
        "all frames of 12×16"
    )
    assert loaded(tree, protocol="clip_split").split == (
        "UCF11, split by clip (random, seed 0), so that parts share scenes: 43 train, 5 validation, 12 test; "
        "6 frames of 12×16"
    )


def test_25_groups_are_split_as_documented():
    parts = {group: part_of_group(group, 4) for group in range(1, 26)}
    assert [g for g in parts if parts[g] == "test"] == [5, 10, 15, 20, 25]
    assert [g for g in parts if parts[g] == "validation"] == [4, 14, 24]
    tested = [[g for g in range(1, 26) if part_of_group(g, fold) == "test"] for fold in range(5)]
    assert sorted(group for groups in tested for group in groups) == list(range(1, 26)), "every group is tested once"
    assert [len(groups) for groups in tested] == [5] * 5
    for fold in range(5):
        assert sum(part_of_group(g, fold) == "validation" for g in range(1, 26)) == 3


def test_five_folds_test_every_clip_once(tree):
    tested = [path for fold in range(5) for path in loaded(tree, protocol="five_fold", fold=fold).test.paths]
    assert len(tested) == len(set(tested)) == 60


def test_the_split_does_not_depend_on_the_global_seed(tree):
    torch.manual_seed(1)
    first = loaded(tree, protocol="clip_split")
    torch.manual_seed(2)
    again = loaded(tree, protocol="clip_split")
    assert first.validation.paths == again.validation.paths
    assert first.test.paths == again.test.paths


def test_both_views_hold_the_same_numbers(tree):
    frames, clips = loaded(tree), loaded(tree, view="clips")
    assert (frames.input_shape, clips.input_shape) == ((6, 3, 12, 16), (3, 6, 12, 16))
    (one, labels), (other, same) = next(iter(frames.train_batches(7, 3))), next(iter(clips.train_batches(7, 3)))
    assert one.shape == (7, 6, 3, 12, 16)
    assert torch.equal(one.transpose(1, 2), other)
    assert torch.equal(labels, same)
    assert other.is_contiguous()
    assert isinstance(frames.train_batches(7, 3), Batches)


@pytest.mark.parametrize("view", ["frames", "clips"])
def test_padding_is_zero_after_the_end_and_nowhere_else(tree, view):
    data = loaded(tree, view=view, num_frames=None)
    assert data.input_shape == ((18, 3, 12, 16) if view == "frames" else (3, 18, 12, 16)), "group 10 has 18 frames"
    samples = torch.cat([samples for samples, _ in data.test_batches()])
    if view == "clips":
        samples = samples.transpose(1, 2)
    padding = (samples == 0).flatten(2).all(2)  # (clip, frame)
    lengths = [len(open_clip(path)) for path in data.test.paths]
    assert set(lengths) == {13, 18}
    assert padding.tolist() == [[place >= length for place in range(18)] for length in lengths]


def test_no_byte_is_zero_when_it_is_normalised():
    values = torch.arange(256) / 255
    assert all((values - mean).abs().min() > 1e-5 for mean in MEAN)


def test_long_clips_come_in_smaller_batches(tree, monkeypatch):
    assert loaded(tree).evaluation_batch_size == 50
    monkeypatch.setattr("datamodules.video.ucf11.EVALUATION_FRAMES", 40)
    data = loaded(tree, num_frames=None)
    assert data.evaluation_batch_size == 2
    assert len(data.test_batches()) == len(list(data.test_batches())) == 6


def test_an_epoch_depends_on_seed_and_epoch_alone(tree):
    data = loaded(tree, flip=True)

    def epoch(seed, number):
        batches = data.train_batches(16, seed)
        batches.epoch = number
        torch.manual_seed(number)
        assert len(batches) == 3
        return torch.cat([samples for samples, _ in batches])

    assert torch.equal(epoch(1, 5), epoch(1, 5))
    assert not torch.equal(epoch(1, 5), epoch(1, 6))
    assert not torch.equal(epoch(1, 5), epoch(2, 5))
    assert len(epoch(0, 0)) == len(data.train) == 42


def test_a_whole_clip_is_mirrored_or_none_of_it(tree):
    plain, flipping = loaded(tree), loaded(tree, flip=True)
    originals = {}
    for samples, _ in plain.train_batches(42, 0):
        originals = {sample.numpy().tobytes(): sample for sample in samples}
    num_mirrored = 0
    for samples, _ in flipping.train_batches(10, 0):
        for sample in samples:
            if sample.numpy().tobytes() not in originals:
                assert sample.flip(-1).contiguous().numpy().tobytes() in originals
                num_mirrored += 1
    assert 8 < num_mirrored < 34
    for one, other in zip(plain.test_batches(), flipping.test_batches(), strict=True):
        assert torch.equal(one[0], other[0])


def test_clips_stay_on_the_disk(tree):
    data = loaded(tree)
    assert all(isinstance(open_clip(path), np.memmap) for path in data.train.paths)


def test_nothing_is_decoded_twice(tree, monkeypatch):
    fingerprint = loaded(tree).fingerprint
    monkeypatch.setattr(cache, "decode", lambda *a: pytest.fail("decoded again"))
    assert loaded(tree).fingerprint == fingerprint


@pytest.mark.parametrize("folder", ["UCF11_updated", "UCF11"])
def test_the_older_tree_of_avi_files(tmp_path, folder):
    write_tree(tmp_path, clips=1, ending=".avi", folder=folder)
    data = loaded(tmp_path, cache=str(tmp_path / "elsewhere"), num_workers=2)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [9, 3, 3]
    assert not (tmp_path / "ucf11_cache").exists()


def test_the_fingerprint_tells_data_apart(small_tree):
    first = loaded(small_tree).fingerprint
    path = small_tree / "UCF11_updated_mpg" / "biking" / "v_biking_02" / "v_biking_02_01.mpg"
    os.utime(path, ns=(1, 1))
    assert loaded(small_tree).fingerprint == first, "a copy is the same"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    byte = loaded(small_tree).fingerprint
    path.rename(path.with_name("v_biking_02_07.mpg"))
    name = loaded(small_tree).fingerprint
    protocol = loaded(small_tree, protocol="five_fold", fold=1).fingerprint
    assert len({first, byte, name, protocol}) == 4


def test_mistakes_are_refused_before_training_in_one_line(make_point, small_tree):
    from orchestration.errors import ConfigError
    from orchestration.run.build import build_components

    base = ["dataset=ucf11", "network=mlp", "method=svd", f"dataset.root={small_tree}"]
    point = make_point(*base, "dataset.height=12", "dataset.width=16")
    assert build_components(point).data.input_shape == (6, 3, 12, 16)
    for wrong in ("dataset.view=film", "dataset.fold=5", "dataset.num_frames=0", "dataset.broken=x"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            make_point(*base, wrong)
    with pytest.raises(ConfigError, match=r"dataset.fold: expected 0 to 4 with five_fold") as caught:
        build_components(make_point(*base, "dataset.fold=1"))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"^UCF11: /nowhere holds no"):
        build_components(make_point(*base, "dataset.root=/nowhere"))
