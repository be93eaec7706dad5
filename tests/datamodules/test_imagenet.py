"""ILSVRC2012 in its official layouts, small: what is found, what it is labelled, and what is refused."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from datamodules.streamed.image_index import fingerprint
from datamodules.streamed.imagenet import ImageNet
from datamodules.streamed.imagenet_files import find_imagenet

WNIDS = ("n01440764", "n01443537", "n02102040")
# As in the official kit, the numbers of the classes do not follow their WordNet ids.
NUMBERS = {"n01440764": 3, "n01443537": 1, "n02102040": 2}
NUM_TRAIN, NUM_VAL = 8, 9
DEVKIT = "ILSVRC2012_devkit_t12"


def jpeg(seed: int, size: tuple[int, int] = (50, 40), mode: str = "RGB", kind: str = "jpeg") -> bytes:
    """A smooth random picture: noise would hide how it was resized."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode).save(content, kind, quality=90)
    return content.getvalue()


def devkit_files(numbers: list[int], folder: Path) -> None:
    """`meta.mat` with its real fields, inner nodes of the tree of classes included, and the ground truth."""
    text = [("words", object), ("gloss", object)]
    fields = [("ILSVRC2012_ID", object), ("WNID", object), *text, ("num_children", object), ("children", object)]
    fields += [("wordnet_height", object), ("num_train_images", object)]
    synsets = np.empty((5, 1), fields)
    entries = [(number, wnid, 0) for wnid, number in NUMBERS.items()]
    entries += [(4, "n00001740", 2), (5, "n00001930", 3)]
    for row, (number, wnid, children) in zip(synsets, sorted(entries), strict=True):
        inner = np.arange(1.0, children + 1)
        row[0] = (float(number), wnid, "a, b", "a thing", float(children), inner, 1.0, float(NUM_TRAIN))
    (folder / "data").mkdir(parents=True)
    savemat(folder / "data" / "meta.mat", {"synsets": synsets})
    truth = folder / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("".join(f"{number}\n" for number in numbers))


def val_wnids() -> list[str]:
    return [WNIDS[index] for index in np.random.default_rng(7).permutation(NUM_VAL) % 3]


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> Path:
    """The three official files."""
    root = tmp_path_factory.mktemp("official")
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as outer:
        for label, wnid in enumerate(reversed(WNIDS)):
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as inner:
                for number in (10, 2, 33, 4, 50, 6, 77, 8):  # neither sorted nor without gaps
                    add(inner, f"{wnid}_{number}.JPEG", jpeg(100 * label + number))
            add(outer, f"{wnid}.tar", packed.getvalue())
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in reversed(range(1, NUM_VAL + 1)):
            add(archive, f"ILSVRC2012_val_{number:08}.JPEG", jpeg(1000 + number))
    devkit_files([NUMBERS[wnid] for wnid in val_wnids()], root / DEVKIT)
    with tarfile.open(root / f"{DEVKIT}.tar.gz", "w:gz") as archive:
        archive.add(root / DEVKIT, DEVKIT)
    shutil.rmtree(root / DEVKIT)
    return root


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def packed(official: Path, tmp_path: Path) -> Path:
    """A copy of the official files that a test may damage."""
    return Path(shutil.copytree(official, tmp_path / "packed"))


@pytest.fixture
def tree(official: Path, tmp_path: Path) -> Path:
    """The same images, extracted and sorted into folders, without a kit."""
    root = tmp_path / "tree"
    with tarfile.open(official / "ILSVRC2012_img_train.tar") as outer:
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                inner.extractall(root / "train" / member.name[:9], filter="data")
    with tarfile.open(official / "ILSVRC2012_img_val.tar") as archive:
        for wnid, name in zip(val_wnids(), sorted(archive.getnames()), strict=True):
            archive.extract(name, root / "val" / wnid, filter="data")
    return root


@pytest.fixture
def flat(tree: Path, official: Path) -> Path:
    """Validation images as `tar x` leaves them, and the kit extracted."""
    for path in [*(tree / "val").glob("*/*")]:
        path.rename(tree / "val" / path.name)
    for wnid in WNIDS:
        (tree / "val" / wnid).rmdir()
    with tarfile.open(official / f"{DEVKIT}.tar.gz") as archive:
        archive.extractall(tree, filter="data")
    return tree


def loaded(root: Path, **options) -> ImageNet:
    options = {"size": 32, "resize": 36, "num_workers": 0, "validation_share": 0.25} | options
    data = ImageNet(str(root), **options)
    data.setup()
    return data


def refused(root: Path, **options) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        loaded(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def samples(part) -> list[tuple[bytes, bytes, int]]:
    names = part.file_names().tolist()
    return [(names[i], part.read(i), int(part.labels[i])) for i in range(len(part))]


def test_archives_are_read_where_they_lie(packed):
    """Against tarfile's own reading of the same archives."""
    found = find_imagenet(packed, None)
    assert found.classes == WNIDS
    expected = []
    with tarfile.open(packed / "ILSVRC2012_img_train.tar") as outer:
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                label = WNIDS.index(member.name[:9])
                expected += [(label, f.name.encode(), inner.extractfile(f).read()) for f in inner]
    assert [(label, name, content) for name, content, label in samples(found.train)] == sorted(expected)
    with tarfile.open(packed / "ILSVRC2012_img_val.tar") as archive:
        contents = {name: archive.extractfile(name).read() for name in archive.getnames()}
    labels = {f"ILSVRC2012_val_{i + 1:08}.JPEG": WNIDS.index(wnid) for i, wnid in enumerate(val_wnids())}
    expected = sorted((labels[name], name.encode(), contents[name]) for name in contents)
    assert [(label, name, content) for name, content, label in samples(found.test)] == expected
    left = sorted(path.name for path in packed.iterdir() if not path.name.endswith(".index.npz"))
    assert left == [f"{DEVKIT}.tar.gz", "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"], "nothing is extracted"


def test_all_layouts_are_the_same_data(packed, tree, request):
    first = loaded(packed)
    for root in (tree, request.getfixturevalue("flat")):
        other = loaded(root)
        for ours, theirs in zip(first.parts, other.parts, strict=True):
            assert samples(ours) == samples(theirs)
        assert (other.fingerprint, other.split) == (first.fingerprint, first.split)
    shutil.rmtree(tree / "val")  # a folder and an archive together
    for name in ("ILSVRC2012_img_val.tar", f"{DEVKIT}.tar.gz"):
        shutil.copy(packed / name, tree)
    assert loaded(tree).fingerprint == first.fingerprint


def test_the_split_is_a_partition_and_written_down(tree):
    data = loaded(tree)
    assert (data.num_classes, data.input_shape) == (3, (3, 32, 32))
    assert [len(part) for part in data.parts] == [18, 6, 9]
    train, validation, test = ([name for name, _, _ in samples(part)] for part in data.parts)
    assert len({*train, *validation}) == 24
    assert test == sorted(test, key=lambda name: (data.parts[2].labels[test.index(name)], name))
    assert data.split == (
        "ILSVRC2012, the official validation part as test part: 24 train less 6 validation (random, seed 0), 9 test; "
        "evaluated on the centre 32×32 of the shorter side resized to 36"
    )
    torch.manual_seed(5)
    assert samples(loaded(tree).parts[1]) == samples(data.parts[1])


def test_a_subset_is_the_first_classes_and_the_first_images_of_each(packed):
    data = loaded(packed, subset_classes=2, subset_per_class=2)
    assert data.num_classes == 2
    found = find_imagenet(packed, None)
    first = {label: sorted(n for n, _, mine in samples(found.train) if mine == label)[:2] for label in (0, 1)}
    kept = sorted(name for part in data.parts[:2] for name, _, _ in samples(part))
    assert kept == sorted(first[0] + first[1])
    assert data.parts[2].labels.tolist() == [0, 0, 1, 1]
    assert "; the first 2 classes; at most 2 of each class in each, the first by name; " in data.split
    assert data.fingerprint != loaded(packed).fingerprint
    said = refused(packed, subset_classes=4)
    assert "subset_classes=4 of 3 classes; lower dataset.subset_classes" in said


def test_the_fingerprint_tells_files_apart(tree):
    parts = loaded(tree).parts
    whole = fingerprint(parts)
    test = parts[2]
    renamed, longer, other = test.names.copy(), test.sizes.copy(), test.labels.copy()
    renamed[0] = renamed[0].replace(b"val_", b"vax_")
    longer[3] += 1
    other[8] -= 1
    changed = [replace(test, names=renamed), replace(test, sizes=longer), replace(test, labels=other)]
    assert len({whole, *(fingerprint([*parts[:2], part]) for part in changed)}) == 4


def test_the_headers_are_read_once(packed, tmp_path, capsys):
    cache = tmp_path / "cache" / "folder"
    train, val = packed / "ILSVRC2012_img_train.tar", packed / "ILSVRC2012_img_val.tar"
    kept = [cache / f"{path.name}.index.npz" for path in (train, val)]

    def read() -> list[str]:
        """Load, and say which headers were read for it."""
        data = loaded(packed, cache=str(cache))
        assert samples(data.parts[0]) == first
        lines = capsys.readouterr().err.splitlines()
        return [line.removeprefix("reading the headers of ").removesuffix(", once") for line in lines]

    first = samples(loaded(packed).parts[0])
    assert len(list(packed.iterdir())) == 5, "beside the archives"
    capsys.readouterr()
    assert read() == [str(train), str(val)]
    assert sorted(cache.iterdir()) == kept, "and no unfinished file"
    assert read() == []
    os.utime(val, ns=(1, 1))
    assert read() == [str(val)]
    for damage in (lambda content: content[: len(content) // 2], lambda content: b"", lambda content: b"<html>"):
        kept[0].write_bytes(damage(kept[0].read_bytes()))
        assert read() == [str(train)]
    time = train.stat().st_mtime_ns
    train.write_bytes(train.read_bytes() + b"\0" * 512)
    os.utime(train, ns=(time, time))
    assert read() == [str(train)], "of another size"
    assert read() == []


def test_a_cache_that_cannot_be_written_is_said(packed, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match=r"index.npz: cannot be written \(.*set dataset.cache to a folder"):
        assert len(find_imagenet(packed, tmp_path / "file" / "cache").train) == 24


def test_nothing_there_is_said_with_the_files(tmp_path, packed):
    said = refused(tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'} lacks ILSVRC2012_img_train.tar, and there is no folder train/" in said
    assert "image-net.org" in said
    assert "nothing is downloaded" in said
    (packed / "ILSVRC2012_img_val.tar").unlink()
    assert "lacks ILSVRC2012_img_val.tar" in refused(packed)


@pytest.mark.parametrize("name", ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"])
def test_truncated_archives_are_named(packed, name):
    path = packed / name
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    end = -(-(last.offset_data + last.size) // 512) * 512
    cuts = (0, 100, 512, last.offset - 3, last.offset, last.offset_data, last.offset_data + last.size // 2, end)
    for cut in cuts:
        path.write_bytes(whole[:cut])
        os.utime(path, ns=(cut, cut))
        said = refused(packed)
        assert f"{path}: cannot be read as an archive (" in said, cut
        assert said.endswith("; fetch it again")
    path.write_bytes(b"<html>not found</html>" * 100)
    assert "cannot be read as an archive (" in refused(packed)


def test_other_archives_than_the_official_ones_are_refused(packed):
    train, val = packed / "ILSVRC2012_img_train.tar", packed / "ILSVRC2012_img_val.tar"
    whole = train.read_bytes()
    val_bytes = val.read_bytes()
    train.write_bytes(val_bytes)
    assert "expected archives <wnid>.tar inside, one a class" in refused(packed)
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "notes.txt", b"x")
    assert "holds notes.txt; expected JPEG files" in refused(packed)
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "goldfish.tar", b"\0" * 10240)
    assert "holds goldfish.tar; expected archives named <wnid>.tar" in refused(packed)
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "n09999999.tar", b"\0" * 10240)
    assert "n09999999.tar holds no image" in refused(packed)
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w") as inner:
        add(inner, "n09999999_1.JPEG", b"x")
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "n09999999.tar", empty.getvalue())
    said = refused(packed)
    assert f"class n09999999 is in {train} and not in {val}; both need the same classes" in said
    train.write_bytes(whole)
    with tarfile.open(train, "a") as archive:
        add(archive, "n09999999.tar", empty.getvalue()[:700])
    assert "cannot be read as an archive" in refused(packed)


def test_a_kit_that_is_missing_or_wrong_is_said(packed, flat):
    archive = packed / f"{DEVKIT}.tar.gz"
    whole = archive.read_bytes()
    for content in (b"", b"<html>", whole[: len(whole) // 2]):
        archive.write_bytes(content)
        assert f"{archive}: cannot be read (" in refused(packed)
    archive.unlink()
    assert "lacks ILSVRC2012_devkit_t12.tar.gz (or the folder ILSVRC2012_devkit_t12)" in refused(packed)
    with tarfile.open(archive, "w:gz") as kit:
        kit.add(flat / DEVKIT / "data" / "meta.mat", f"{DEVKIT}/data/meta.mat")
    assert "lacks data/ILSVRC2012_validation_ground_truth.txt" in refused(packed)
    truth = flat / DEVKIT / "data" / "ILSVRC2012_validation_ground_truth.txt"
    lines = truth.read_text().split()
    truth.write_text("\n".join(lines[:-1]))
    assert "has 8 lines for 9 validation images; expected one for each" in refused(flat)
    truth.write_text("\n".join([*lines[:-1], "4"]))
    assert "has class 4, which meta.mat does not know" in refused(flat)
    truth.write_text("\n".join([*lines[:-1], "goldfish"]))
    assert "expected one number a line" in refused(flat)
    truth.write_text("\n".join(lines))
    assert len(loaded(flat).parts[2]) == 9
    meta = flat / DEVKIT / "data" / "meta.mat"
    for content in (b"", b"<html>" * 100, meta.read_bytes()[:300]):
        meta.write_bytes(content)
        assert "meta.mat: cannot be read (" in refused(flat)
    savemat(meta, {"others": np.ones(3)})
    assert "meta.mat: cannot be read (" in refused(flat)


def test_classes_that_do_not_fit_are_named(tree):
    spare = tree.with_name("spare")
    (tree / "val" / WNIDS[2]).rename(spare)
    said = refused(tree)
    assert f"class {WNIDS[2]} is in {tree / 'train'} and not in {tree / 'val'}" in said
    (tree / "val" / WNIDS[2]).mkdir()
    assert f"{tree / 'val' / WNIDS[2]} holds no image; put some there, or delete the class" in refused(tree)
    (tree / "val" / WNIDS[2]).rmdir()
    spare.rename(tree / "val" / "n09999999")
    assert "class n02102040 is in" in refused(tree)
    (tree / "val" / "n09999999").rename(tree / "val" / "goldfish")
    said = refused(tree)
    assert f"{tree / 'val' / 'goldfish'}: expected folders named by WordNet ids" in said
    shutil.rmtree(tree / "val")
    (tree / "val").mkdir()
    assert f"{tree / 'val'} holds no image" in refused(tree)
    shutil.rmtree(tree / "train")
    (tree / "train").mkdir()
    assert f"{tree / 'train'}: no folder of images; expected train/<class>/<image>" in refused(tree)


def test_hidden_files_are_left_out_and_others_are_not(tree):
    whole = loaded(tree).fingerprint
    (tree / "train" / WNIDS[0] / ".DS_Store").write_text("x")
    (tree / "train" / ".cache").mkdir()
    (tree / "train" / "n01440764.tar").write_text("x")
    assert loaded(tree).fingerprint == whole
    (tree / "train" / WNIDS[0] / "Thumbs.db").write_text("x")
    said = refused(tree)
    assert f"{tree / 'train' / WNIDS[0] / 'Thumbs.db'}: expected an image (.jpeg, .jpg" in said


@pytest.mark.parametrize("share", [0.001, 0.99])
def test_a_share_that_leaves_nothing_is_refused(tree, share):
    said = refused(tree, validation_share=share)
    assert f"validation_share={share:g} of 24 training images are" in said
    assert "change dataset.validation_share" in said


def test_mistakes_are_refused_before_training_in_one_line(make_point, packed, tmp_path):
    from orchestration.assemble import assemble
    from orchestration.schema import ConfigError

    base = ["dataset=imagenet", "network=resnet20", "method=svd", f"dataset.root={packed}", "dataset.num_workers=0"]
    parts = assemble(make_point(*base, "dataset.size=16", "dataset.validation_share=0.1"))
    assert parts.data.input_shape == (3, 16, 16)
    with pytest.raises(ConfigError, match=r"resize=256: expected at least size=300"):
        assemble(make_point(*base, "dataset.size=300"))
    with pytest.raises(ConfigError, match=r"lacks ILSVRC2012_img_train.tar"):
        assemble(make_point(*base, f"dataset.root={tmp_path / 'nowhere'}"))
    with pytest.raises(ConfigError, match=r"dataset.min_crop_area"):
        make_point(*base, "dataset.min_crop_area=0")
    moved = make_point(*base, "dataset.root=/elsewhere", "dataset.num_workers=7", "dataset.cache=/tmp")
    assert moved.id == make_point(*base).id, "where the files are is no part of what is run"
    assert moved.id != make_point(*base, "dataset.size=64").id


def test_a_point_runs_on_it(make_point, packed):
    """Through Lightning, with workers, to its row; an image that cannot be read makes a row that says so."""
    from orchestration.job import run_point

    wanted = [
        "dataset=imagenet", f"dataset.root={packed}", "dataset.size=32", "dataset.resize=36", "dataset.num_workers=2",
        "dataset.validation_share=0.2", "network=resnet20", "network.depth=8", "method=svd", "rank.share=0.5",
        "schedule.batch_size=8", "latency_batch_size=2",
    ]  # fmt: skip
    result = run_point(make_point(*wanted))
    assert result.status == "ok", result.status
    assert result.signature["split"].startswith("ILSVRC2012, the official validation part as test part: 24 train less")
    assert result.compressed.num_params < result.reference.num_params
    train = packed / "ILSVRC2012_img_train.tar"
    first = find_imagenet(packed, None).train
    with train.open("r+b") as file:
        file.seek(int(first.offsets[0]))
        file.write(b"\0" * int(first.sizes[0]))
    result = run_point(make_point(*wanted, "seed=1"))
    assert result.status.startswith(f"failed: {train}: n01440764/n01440764_10.JPEG: not a readable image (")
