"""The modes into which sizes are cut."""

from __future__ import annotations

import pytest

from decompositions.linalg.tensorize import balanced, modes_of_sides, refuse_unused_keys


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [(1024, 4, (4, 4, 8, 8)), (25088, 5, (7, 7, 8, 8, 8)), (10, 3, (1, 2, 5)), (7, 2, (1, 7)), (1, 3, (1, 1, 1))],
)
def test_balanced_modes(size, count, expected):
    assert balanced(size, count) == expected
    assert modes_of_sides((size, size), count, {}) == (expected, expected)
    with pytest.raises(ValueError, match=rf"expected {size} as a product, got 3 · 50 = 150"):
        modes_of_sides((size, size), count, {str(size): [3, 50]})


GIVEN = {"32": [2, 16], "out_32": [8, 4], "in_32": [4, 8], "in_64x32": [32], "64": [8, 8]}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((32, 32, 3, 3), ((8, 4), (4, 8))),
        ((64, 32, 1, 1), ((8, 8), (32,))),
        ((32, 64), ((8, 4), (8, 8))),
        ((64, 12), ((8, 8), (3, 4))),
    ],
)
def test_the_narrowest_key_gives_the_modes_of_a_side(shape, expected):
    assert modes_of_sides(shape, 2, GIVEN) == expected
    assert modes_of_sides((32, 32), 2, {"32": [2, 16]}) == ((2, 16), (2, 16))


NO_KEYS = ["output_32", "in_", "x32", "64x32", "out_64x", "in_64x32x3", "32.5", "032", "out_032", "in_64x032", "0", ""]


@pytest.mark.parametrize("key", NO_KEYS)
def test_a_key_of_another_kind_is_refused(key):
    with pytest.raises(ValueError, match=r"expected as keys a size \(32\), .*got '" + key):
        modes_of_sides((8, 8), 2, {key: [8]})


def test_a_key_that_no_weight_uses_is_refused():
    """Also one in whose place narrower keys stand for every side."""
    shapes = [(64, 32, 3, 3), (32, 64), (64, 32)]
    refuse_unused_keys(shapes, {"32": [8, 4], "out_64": [8, 8], "in_32x64": [64]})
    refuse_unused_keys(shapes, None)
    for keys, unused in ((["out_46"], "'out_46'"), (["32", "in_46", "in_64x46"], "'in_46', 'in_64x46'")):
        with pytest.raises(ValueError, match=rf"which are 64x32, 32x64 \(outputs x inputs\), got {unused}: no side"):
            refuse_unused_keys(shapes, {key: [1] for key in keys})
    with pytest.raises(ValueError, match="got '32': no side uses it, or only with a narrower key"):
        refuse_unused_keys(shapes, {"32": [8, 4], "out_32": [4, 8], "in_64x32": [32]})
    with pytest.raises(ValueError, match="expected as keys a size"):
        refuse_unused_keys(shapes, {"output_32": [32]})


def test_a_wrong_product_names_its_key():
    with pytest.raises(ValueError, match=r"modes of in_32: expected 32 as a product, got 4 · 4 = 16"):
        modes_of_sides((32, 32), 2, {"in_32": [4, 4]})
