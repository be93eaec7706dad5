"""Alternating least squares where terms diverge."""

from __future__ import annotations

import pytest
import torch

from decompositions.linalg import cp_als


def test_terms_that_grow_and_cancel_are_not_used(monkeypatch):
    """`a∘a∘b + a∘b∘a + b∘a∘a` has rank 3 and is the limit of rank 2 tensors with diverging terms [KHL89]."""
    a, b = torch.eye(2, dtype=torch.float64)
    tensor = sum(torch.einsum("i,j,k->ijk", *vectors) for vectors in ((a, a, b), (a, b, a), (b, a, a)))
    sharp = 1e3
    terms = [sharp * (a + b / sharp), -sharp * a]
    diverging = [
        torch.stack([terms[0], terms[1]], 1),
        torch.stack([a + b / sharp, a], 1),
        torch.stack([a + b / sharp, a], 1),
    ]
    assert float((cp_als.to_tensor(diverging) - tensor).norm()) < 0.01, "close, with terms a thousand times larger"
    assert cp_als.is_degenerate(diverging)
    monkeypatch.setattr(cp_als, "DEGENERATE", 4.0)  # they grow with the cube root of the sweeps: 100 takes too many
    start = [torch.zeros(2, 0, dtype=torch.float64)] * 3
    with pytest.warns(RuntimeWarning, match="CP of rank 2: terms grow and cancel"):
        found = cp_als.fit(tensor, 2, start, 300)
    assert not cp_als.is_degenerate(found)
    assert not cp_als.is_degenerate(cp_als.polish(tensor, found, 300))
    assert float((cp_als.to_tensor(found) - tensor).norm() / tensor.norm()) < 0.6
