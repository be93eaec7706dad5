"""Get the one line in which damaged files are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def refusal(load: Callable[..., object], *arguments: object, **options: object) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        load(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
