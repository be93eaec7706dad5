"""Each kind of normalisation, against NumPy; what a data set cannot do is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datamodules.memory.digits import Digits
from datamodules.memory.in_memory import Images, InMemoryData
from datamodules.normalisation import Normalisation
from datamodules.streamed.folder import StreamedFolder
from datamodules.synthetic import Synthetic
from datamodules.video.ucf11 import UCF11


class Coloured(InMemoryData):
    """Forty images of three channels with moments of their own."""

    input_shape, num_classes, scale, per_channel = (3, 4, 5), 2, 255.0, True
    split = "forty images"

    def load(self):
        generator = torch.Generator().manual_seed(0)
        limits = torch.tensor([40, 120, 250])[:, None, None]
        images = (torch.rand((40, 3, 4, 5), generator=generator) * limits).to(torch.uint8)
        data = Images(images, torch.arange(40) % 2)
        return tuple(data.take(torch.arange(*ends)) for ends in ((0, 20), (20, 30), (30, 40)))


def ready(data, **options):
    data.normalise_by(Normalisation(**options))
    data.setup()
    return data


def numpy_of(data, kind):
    train, x = (part.images.numpy().astype(np.float64) / data.scale for part in (data.train, data.test))
    if kind == "channels":
        return (x - train.mean((0, 2, 3), keepdims=True)) / train.std((0, 2, 3), keepdims=True)
    return x - train.mean(0) if kind == "mean_image" else x


@pytest.mark.parametrize("kind", ["none", "channels", "mean_image"])
@pytest.mark.parametrize("make", [Digits, Coloured])
def test_kinds_that_are_measured_on_the_training_part(make, kind):
    data = ready(make(), normalisation=kind)
    images = torch.cat([images for images, _ in data.test_batches()]).numpy()
    assert np.allclose(images, numpy_of(data, kind), atol=1e-5)
    assert images.dtype == np.float32


@pytest.mark.parametrize(("make", "kind"), [(Digits, "mean_image"), (Coloured, "channels")])
def test_the_own_kind(make, kind):
    own, same, none = ready(make()), ready(make(), normalisation=kind), ready(make(), normalisation="none")
    images = [next(iter(data.validation_batches()))[0] for data in (own, same, none)]
    assert torch.equal(images[0], images[1])
    assert not torch.allclose(images[0], images[2])
    assert own.fingerprint == none.fingerprint, "the same files"


def test_given_numbers():
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
    data = ready(Coloured(), mean=mean, std=std)
    pixels = data.train.images.numpy() / 255.0
    expected = (pixels - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    trained = torch.cat([images for images, _ in data.train_batches(20, seed=0)])
    assert np.allclose(trained.sort(0).values, np.sort(expected, 0), atol=1e-5)
    assert str(data.normalise) == "mean 0.1 0.2 0.3, std 0.5 0.25 2"


def test_one_of_two_numbers_is_enough():
    only_mean, only_std = ready(Digits(), mean=[0.5]), ready(Digits(), std=[0.5])
    pixels = only_mean.test.images / 16
    assert torch.allclose(next(iter(only_mean.test_batches()))[0], pixels - 0.5)
    assert torch.allclose(next(iter(only_std.test_batches()))[0], pixels / 0.5)


@pytest.mark.parametrize(
    ("shape", "mean"), [((3, 8, 8), [0.1, 0.2, 0.3]), ((4, 3, 8, 8), [0.1, 0.2, 0.3]), ((1, 8, 8), [0.4])]
)
def test_random_images_and_clips(shape, mean):
    def made(**options):
        return ready(Synthetic(list(shape), 2, 20, 10, 10), **options)

    own, none, given = made(), made(normalisation="none"), made(mean=mean, std=[2.0] * len(mean))
    raw = next(iter(none.test_batches()))[0]
    assert raw.min() >= 0 and 0.5 < raw.max() <= 1
    assert torch.allclose(next(iter(own.test_batches()))[0], (raw - 0.5) / 0.2, atol=1e-6)
    assert torch.allclose(next(iter(given.test_batches()))[0], (raw - torch.tensor(mean)[:, None, None]) / 2, atol=1e-6)


def test_words_of_a_row():
    assert str(ready(Digits(), normalisation="none").normalise) == "none"
    assert str(ready(Digits()).normalise).startswith("mean image ")
    assert str(ready(Digits()).normalise) == str(ready(Digits()).normalise)


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (Coloured, {"mean": [0.5]}, "dataset.mean: expected 3 numbers, one for each channel, got 1"),
        (Coloured, {"std": [1.0, 1.0]}, "dataset.std: expected 3 numbers, one for each channel, got 2"),
        (Digits, {"mean": [0.5], "normalisation": "none"}, "dataset.normalisation=none: .* say it too"),
        (lambda: Synthetic([3, 8, 8]), {"normalisation": "channels"}, "expected own or none .* got channels; or give"),
        (lambda: StreamedFolder("x", "x"), {"normalisation": "mean_image"}, "expected own or none"),
        (lambda: UCF11("x"), {"normalisation": "none"}, "exactly zero, .*view=clips"),
        (lambda: UCF11("x"), {"mean": [0.0, 1.0, 0.2]}, "exactly zero, .*view=clips"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, options, said):
    with pytest.raises(ValueError, match=said) as caught:
        make().normalise_by(Normalisation(**options))
    assert "\n" not in str(caught.value)


def test_clips_take_numbers_that_leave_no_frame_at_zero():
    UCF11("x").normalise_by(Normalisation(mean=[0.4321, 0.0, 0.0]))
    UCF11("x", view="clips").normalise_by(Normalisation(normalisation="none"))


def test_data_that_know_their_own_way_only(monkeypatch):
    monkeypatch.setattr(Coloured, "normalisations", ("own",))
    for options, said in ({"mean": [0.0] * 3}, "own way only"), ({"normalisation": "none"}, "expected own for"):
        with pytest.raises(ValueError, match=said):
            Coloured().normalise_by(Normalisation(**options))
    Coloured().normalise_by(Normalisation())
