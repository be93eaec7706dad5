"""Windows and centres of coded images, against torchvision's transforms and against the formula of the draw."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torchvision.transforms.v2 import CenterCrop, Compose, RandomResizedCrop, Resize
from torchvision.transforms.v2.functional import resized_crop

from datamodules.streamed.crops import Crops, draw_window


def smooth(size: tuple[int, int], seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def coded(image: Image.Image, kind: str = "jpeg", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


SIZES = [(500, 375), (510, 375), (375, 500), (64, 64), (300, 33), (20, 31), (257, 256), (1, 1), (1000, 7), (333, 331)]


@pytest.mark.parametrize("size", SIZES)
def test_centres_are_torchvisions(size):
    content = coded(noise(size), quality=90)
    theirs = Compose([Resize(64), CenterCrop(56)])(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(Crops(56, 64, 0.08, True).centre(content), np.asarray(theirs))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_windows_have_torchvisions_pixels(size, kind):
    """A JPEG's where it is decoded at its whole size, all others' always."""
    side = 48 if min(size) < 100 else 200
    content, crops = coded(noise(size), kind), Crops(side, side, 0.08, False)
    whole = Image.open(io.BytesIO(content)).convert("RGB")
    num_compared = 0
    for seed in range(12):
        left, top, across, down = draw_window(*size, 0.08, np.random.default_rng(seed))
        if kind == "png" or min(across, down) < 2 * side:
            theirs = resized_crop(whole, top, left, down, across, [side, side])
            assert np.array_equal(crops.random(content, np.random.default_rng(seed)), np.asarray(theirs))
            num_compared += 1
    assert num_compared > 0


@pytest.mark.parametrize("size", [(500, 375), (501, 379), (1600, 1203), (2111, 2048)])
@pytest.mark.parametrize("options", [{"quality": 90}, {"quality": 90, "progressive": True, "subsampling": 0}])
def test_windows_that_are_decoded_small_are_near_torchvisions(size, options, monkeypatch):
    """At 1/2 to 1/8 of the size, and never below what is cut from it; a shift by half a pixel would be seen."""
    content, crops = coded(smooth(size), **options), Crops(40, 64, 0.3, False)
    whole = Image.open(io.BytesIO(content))
    asked, draft = [], JpegImageFile.draft
    monkeypatch.setattr(JpegImageFile, "draft", lambda image, *a: (draft(image, *a), asked.append(image.size))[0])
    for seed in range(10):
        left, top, across, down = draw_window(*size, 0.3, np.random.default_rng(seed))
        ours = crops.random(content, np.random.default_rng(seed)).astype(float)
        theirs = np.asarray(resized_crop(whole, top, left, down, across, [40, 40])).astype(float)
        assert np.abs(ours - theirs).mean() < 0.9
        moved = np.asarray(resized_crop(whole, top, left + across // 40, down, across, [40, 40])).astype(float)
        assert np.abs(ours - theirs).mean() < 0.3 * np.abs(ours - moved).mean()
        shrinkage = size[0] / asked[-1][0]
        assert min(across, down) / shrinkage >= 40
        assert min(across, down) / shrinkage < 2 * 40 * 1.01 or shrinkage > 7.9
    assert len(asked) == 10


def test_windows_are_drawn_as_torchvision_draws_them():
    """Both samples of place and shape have the same moments and the same quantiles."""
    width, height, num = 500, 375, 4000
    generator = np.random.default_rng(0)
    ours = np.array([draw_window(width, height, 0.08, generator) for _ in range(num)], float)
    image = Image.new("L", (width, height))
    theirs = np.array([RandomResizedCrop.make_params(RandomResizedCrop(9), [image]) for _ in range(num)])
    theirs = np.array([[each[k] for k in ("left", "top", "width", "height")] for each in theirs], float)
    for column in range(4):
        mine, other = np.sort(ours[:, column]), np.sort(theirs[:, column])
        both = np.concatenate([mine, other])
        gap = np.abs(np.searchsorted(mine, both, "right") - np.searchsorted(other, both, "right")).max() / num
        assert gap < 1.95 * math.sqrt(2 / num), "Kolmogorov and Smirnov: one in a thousand is larger"


@pytest.mark.parametrize("min_area", [0.08, 0.5, 1.0])
def test_shares_and_ratios_are_uniform_between_their_bounds(min_area):
    """On a square that no window outgrows: the share of the area is uniform, and the logarithm of the ratio."""
    side = 4000
    drawn = [draw_window(side, side, min_area, np.random.default_rng(seed)) for seed in range(3000)]
    left, top, across, down = np.array(drawn, float).T
    assert ((left >= 0) & (left + across <= side) & (top >= 0) & (top + down <= side)).all()
    share, ratio = across * down / side**2, np.log(across / down) / math.log(4 / 3)
    assert min_area - 0.001 < share.min()
    assert share.max() <= 1.001
    assert -1.001 < ratio.min() <= ratio.max() < 1.001
    small = share < 0.7  # at these sizes no try fails, whatever the ratio
    if min_area < 0.7:
        assert share[small].mean() == pytest.approx((min_area + 0.7) / 2, abs=0.02)
        assert ratio[small].mean() == pytest.approx(0, abs=0.06)
        assert ratio[small].var() == pytest.approx(1 / 3, abs=0.04)
        place = left[small] / np.maximum(side - across[small], 1)
        assert (place.mean(), place.var()) == (pytest.approx(0.5, abs=0.03), pytest.approx(1 / 12, abs=0.01))


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(1000, 10, (493, 0, 13, 10)), (10, 1000, (0, 493, 10, 13)), (1, 1, (0, 0, 1, 1)), (9, 100, (0, 44, 9, 12))],
)
def test_where_no_window_fits_it_is_the_largest_in_the_middle(width, height, expected):
    class Largest(np.random.Generator):
        """Every try is as large as the image and as wide as it may be; what fits lies in the corner."""

        def uniform(self, low, high):
            return high

        def integers(self, high):
            return 0

    assert draw_window(width, height, 1.0, Largest(np.random.PCG64())) == expected


def test_half_are_mirrored():
    content = coded(smooth((60, 60)), "png")
    plain, moved = Crops(24, 24, 1.0, False), Crops(24, 24, 1.0, True)
    mirrored = 0
    for seed in range(400):
        straight = plain.random(content, np.random.default_rng(seed))
        image = moved.random(content, np.random.default_rng(seed))
        if np.array_equal(image, straight[:, ::-1]):
            mirrored += 1
        else:
            assert np.array_equal(image, straight)
    assert 160 < mirrored < 240


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1", "LA"])
def test_kinds_of_images_become_colours(mode):
    """As ImageNet has them: grey and CMYK in JPEG, and a PNG that is called JPEG."""
    kind = "jpeg" if mode in ("L", "CMYK") else "png"
    content = coded(smooth((80, 70)).convert(mode), kind)
    theirs = Compose([Resize(32), CenterCrop(24)])(Image.open(io.BytesIO(content)).convert("RGB"))
    crops = Crops(24, 32, 1.0, False)
    assert np.array_equal(crops.centre(content), np.asarray(theirs))
    window = draw_window(80, 70, 1.0, np.random.default_rng(1))
    left, top, across, down = window
    whole = resized_crop(Image.open(io.BytesIO(content)).convert("RGB"), top, left, down, across, [24, 24])
    difference = crops.random(content, np.random.default_rng(1)).astype(float) - np.asarray(whole)
    assert np.abs(difference).mean() < (2 if kind == "jpeg" else 1e-9)


def test_sixteen_bits_are_refused():
    content = coded(Image.fromarray(np.zeros((6, 7), np.uint16)), "png")
    for cut in (lambda crops: crops.centre(content), lambda crops: crops.random(content, np.random.default_rng(0))):
        with pytest.raises(ValueError, match="pixels of kind I;16"):
            cut(Crops(4, 4, 0.08, False))
