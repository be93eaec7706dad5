"""Factors in canonical form multiply to what they multiplied to before."""

from __future__ import annotations

import pytest
import torch

from decompositions.linalg.canonical import balanced_pair, left_orthogonal, orthonormal_bases
from decompositions.linalg.moments import Kronecker
from decompositions.linalg.tt_svd import contract


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.double)


@pytest.mark.parametrize(("rows", "rank", "columns"), [(5, 2, 7), (3, 3, 3), (5, 0, 7)])
def test_a_pair_is_the_svd_of_its_product(rows, rank, columns):
    left, right = random(rows, rank) * 100, random(rank, columns)
    new_left, new_right = balanced_pair(left, right)
    assert torch.allclose(new_left @ new_right, left @ right)
    values = torch.linalg.svdvals(left @ right)[: new_left.shape[1]]
    assert torch.allclose(new_left.norm(dim=0).square(), values)
    assert torch.allclose(new_right.norm(dim=1).square(), values)


def test_a_direction_without_energy_keeps_one_factor_that_can_be_trained():
    left, right = balanced_pair(random(5, 1).expand(5, 2), random(2, 7))
    assert (left.norm(dim=0) > 0.1).all()
    assert float(right[1].norm()) == pytest.approx(0, abs=1e-12)


def test_bases_become_orthonormal():
    core, bases = random(2, 3, 2, 2), [random(6, 2), random(5, 3)]
    before = torch.einsum("abij,oa,sb->osij", core, *bases)
    core, bases = orthonormal_bases(core, bases)
    assert torch.allclose(torch.einsum("abij,oa,sb->osij", core, *bases), before)
    assert all(torch.allclose(basis.T @ basis, torch.eye(basis.shape[1]).double()) for basis in bases)


def test_a_train_becomes_orthonormal_from_the_left():
    cores = [random(1, 4, 3), 1000 * random(3, 5, 2), random(2, 6, 1)]
    found = left_orthogonal(cores)
    assert torch.allclose(contract(found), contract(cores))
    assert [round(float(core.norm()), 6) for core in found] == [round(float(found[0].norm()), 6)] * 3
    flat = found[1].reshape(-1, 2)
    gram = flat.T @ flat
    assert torch.allclose(gram, gram[0, 0] * torch.eye(2).double(), atol=1e-9)


def test_kronecker_products_are_those_of_torch():
    parts = random(3, 3), random(2).abs(), random(4, 4)
    whole = torch.kron(torch.kron(parts[0], torch.diag(parts[1])), parts[2])
    columns = random(24, 5)
    assert torch.allclose(Kronecker(parts) @ columns, whole @ columns)
    assert torch.allclose(Kronecker(parts).diagonal, whole.diagonal())
    assert (Kronecker(tuple(p.float() for p in parts)) @ columns.float()).dtype == torch.float32
