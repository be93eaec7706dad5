"""The modes into which sizes are cut."""

from __future__ import annotations

import pytest

from decompositions.linalg.tensorize import balanced, modes_of


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [(1024, 4, (4, 4, 8, 8)), (25088, 5, (7, 7, 8, 8, 8)), (10, 3, (1, 2, 5)), (7, 2, (1, 7)), (1, 3, (1, 1, 1))],
)
def test_balanced_modes(size, count, expected):
    assert balanced(size, count) == expected
    assert modes_of(size, count, {}) == expected
    with pytest.raises(ValueError, match=rf"expected {size} as a product, got 3 · 50 = 150"):
        modes_of(size, count, {str(size): [3, 50]})
