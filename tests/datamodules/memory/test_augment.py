"""Crops and flips against one image at a time; what draws them; what is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datamodules.memory.augment import Augmentation
from datamodules.memory.channel_moments import channel_moments
from datamodules.memory.digits import Digits
from datamodules.memory.in_memory import Images, InMemoryData


def pictures(num: int, channels: int = 3, height: int = 8, width: int = 8) -> Images:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(1, 256, (num, channels, height, width), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.arange(num) % 4)


class Pictures(InMemoryData):
    input_shape, num_classes, scale, split, per_channel = (3, 8, 8), 4, 255.0, "random pixels", True

    def load(self):
        data = pictures(60)
        return data.take(torch.arange(40)), data.take(torch.arange(40, 50)), data.take(torch.arange(50, 60))


@pytest.fixture
def data() -> Pictures:
    made = Pictures()
    made.augmentation = Augmentation(2, True)
    made.setup()
    return made


@pytest.mark.parametrize(("padding", "flip"), [(0, False), (0, True), (3, False), (4, True), (9, True)])
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 8, 8), (1, 5, 7)])
def test_against_brute_force(padding, flip, channels, height, width):
    images = pictures(50, channels, height, width).images
    augmentation = Augmentation(padding, flip)
    draws = augmentation.draw(50, (height, width), torch.Generator().manual_seed(0))
    found = augmentation(images, draws)
    assert found.dtype == torch.uint8
    for image, (top, left, mirrored), moved in zip(images.numpy(), draws.tolist(), found.numpy(), strict=True):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        expected = padded[:, top : top + height, left : left + width]
        assert np.array_equal(moved, expected[:, :, ::-1] if mirrored else expected)


def test_every_place_and_both_sides_are_drawn_alike():
    draws = Augmentation(1, True).draw(18_000, (8, 8), torch.Generator().manual_seed(3))
    cells = torch.bincount(draws[:, 0] * 6 + draws[:, 1] * 2 + draws[:, 2], minlength=18)
    assert len(cells) == 18
    assert float((cells - 1000).abs().max()) < 5 * (1000 * 17 / 18) ** 0.5, "five standard deviations"
    assert not Augmentation(1, False).draw(100, (8, 8), torch.Generator())[:, 2].any()
    assert not Augmentation(0, True).draw(100, (8, 8), torch.Generator())[:, :2].any()


@pytest.mark.parametrize("side", [1, 2, 3, 8, 20])
@pytest.mark.parametrize(("channels", "height", "width"), [(3, 8, 8), (1, 5, 7)])
def test_cutout_against_brute_force(side, channels, height, width):
    augmentation = Augmentation(2, True, side)
    draws = augmentation.draw(60, (height, width), torch.Generator().manual_seed(0))
    values = torch.randn(60, channels, height, width)
    expected = values.clone().numpy()
    found = augmentation.cut_out(values, draws)
    for image, (row, column) in zip(expected, draws[:, 3:].tolist(), strict=True):
        top, left = row - side // 2, column - side // 2
        for y in range(height):
            for x in range(width):
                if top <= y < top + side and left <= x < left + side:
                    image[:, y, x] = 0
    assert np.array_equal(found, expected)


def test_crops_and_flips_are_drawn_alike_with_and_without_cutout():
    plain, cut = (Augmentation(4, True, s).draw(99, (5, 7), torch.Generator().manual_seed(2)) for s in (0, 3))
    assert torch.equal(plain, cut[:, :3])
    assert (plain.shape, cut.shape) == ((99, 3), (99, 5))
    corners = torch.randint(9, (99, 2), generator=(generator := torch.Generator().manual_seed(2)))
    mirrored = torch.randint(2, (99, 1), generator=generator)
    assert torch.equal(plain, torch.cat([corners, mirrored], dim=1)), "as ever: rows depend on it"
    centres = Augmentation(0, False, 3).draw(3500, (5, 7), torch.Generator().manual_seed(2))[:, 3:]
    counts = torch.bincount(centres[:, 0] * 7 + centres[:, 1], minlength=35)
    assert len(counts) == 35
    assert float((counts - 100).abs().max()) < 5 * 100**0.5, "the centre is anywhere"


def test_cutout_is_the_mean_after_normalisation(data):
    plain = epoch(data, 3, 1)
    data.augmentation = Augmentation(2, True, 4)
    found = epoch(data, 3, 1)
    square = (found != plain).any(dim=1)
    assert not found.permute(0, 2, 3, 1)[square].any(), "zero"
    assert torch.equal(found.permute(0, 2, 3, 1)[~square], plain.permute(0, 2, 3, 1)[~square])
    areas = square.sum(dim=(1, 2))
    assert areas.max() == 16
    assert areas.min() < 16, "some squares are cut off at the border"
    assert torch.equal(found, epoch(data, 3, 1, batch_size=7))
    assert not torch.equal(found, epoch(data, 3, 2))


def epoch(data: InMemoryData, seed: int, number: int, batch_size: int = 16) -> torch.Tensor:
    batches = data.train_batches(batch_size, seed)
    batches.epoch = number
    torch.manual_seed(number)  # the global generator has no say
    return torch.cat([images for images, _ in batches])


def test_an_epoch_depends_on_its_seed_and_number_alone(data):
    once = epoch(data, 1, 5)
    state = torch.get_rng_state()
    assert torch.equal(once, epoch(data, 1, 5))
    assert torch.equal(once, epoch(data, 1, 5, batch_size=7))
    list(data.train_batches(16, 1))
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state()), "the global generator is left alone"
    assert not torch.equal(once, epoch(data, 1, 6))
    assert not torch.equal(once, epoch(data, 2, 5))


def test_the_order_of_an_epoch_is_that_without_augmentation(data):
    plain = Pictures()
    plain.setup()
    for (moved, labels), (images, expected) in zip(data.train_batches(9, 4), plain.train_batches(9, 4), strict=True):
        assert torch.equal(labels, expected)
        assert not torch.equal(moved, images)


def test_the_same_image_moves_from_epoch_to_epoch(data):
    def first(number: int) -> torch.Tensor:
        order = torch.randperm(40, generator=torch.Generator().manual_seed(1 * 1_000_003 + number))
        return epoch(data, 1, number)[(order == 0).nonzero()[0, 0]]

    assert len({first(number).numpy().tobytes() for number in range(8)}) > 4


def test_padding_is_black_before_normalisation(data):
    """A pixel that came from outside has the value that a black pixel has."""
    found = epoch(data, 0, 0)
    black = ((0 - data.normalise.mean) / data.normalise.deviation).expand(3, 1, 1)
    assert float((found - black).amin(dim=(0, 2, 3)).abs().max()) < 1e-6
    assert bool(torch.isclose(found, black, atol=1e-6).any()), "no pixel of these images is black itself"


def test_other_parts_are_left_alone(data):
    plain = Pictures()
    plain.setup()
    for name in ("validation_batches", "test_batches"):
        for (images, _), (expected, _) in zip(getattr(data, name)(), getattr(plain, name)(), strict=True):
            assert torch.equal(images, expected)
    assert data.fingerprint == plain.fingerprint
    assert data.train.images.dtype == torch.uint8


def test_channels_are_normalised_with_the_moments_of_the_training_part(data):
    pixels = data.train.images.double().numpy() / 255
    assert np.allclose(data.normalise.mean.flatten(), pixels.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(data.normalise.deviation.flatten(), pixels.std((0, 2, 3)), atol=1e-6)
    images, _ = next(iter(data.test_batches()))
    raw = data.test.images.double().numpy() / 255
    mean, deviation = (moment((0, 2, 3), keepdims=True) for moment in (pixels.mean, pixels.std))
    assert np.allclose(images, (raw - mean) / deviation, atol=1e-5)


def test_a_constant_channel_is_not_divided_by_zero():
    images = torch.full((5, 2, 3, 3), 77, dtype=torch.uint8)
    images[:, 1, 0, 0] = 12
    mean, deviation = channel_moments(images, 255.0)
    assert deviation[0].item() == 1.0
    assert deviation[1].item() == pytest.approx(float((images[:, 1].double() / 255).std(correction=0)))
    assert mean[0].item() == pytest.approx(77 / 255)


def test_data_without_augmentation_has_the_batches_that_it_always_had():
    """Bit for bit: shuffled, divided by the largest value, less the mean image."""
    data = Digits()
    data.setup()
    mean = data.train.images.float().mean(dim=0) / 16.0
    for seed, number in ((0, 0), (3, 7)):
        batches = data.train_batches(64, seed)
        batches.epoch = number
        order = torch.randperm(1167, generator=torch.Generator().manual_seed(seed * 1_000_003 + number))
        for index, (images, labels) in zip(order.split(64), batches, strict=True):
            assert torch.equal(images, data.train.images[index].to(torch.float32).div_(16.0).sub_(mean))
            assert torch.equal(labels, data.train.labels[index])


def test_what_moves_nothing_is_false():
    assert not Augmentation(0, False, 0)
    assert all([Augmentation(1, False), Augmentation(0, True), Augmentation(0, False, 2)])
