"""Published formulas, written independently in NumPy, on the same layer and data: weights agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from decompositions.core.site import survey
from decompositions.core.whitening import analyse_in
from decompositions.metrics.activation import Activation
from decompositions.metrics.covariance import Covariance
from decompositions.metrics.fisher import Fisher
from decompositions.metrics.gram import Gram
from decompositions.metrics.kfac import KFAC
from decompositions.svd import SVD

RANK = 3


@pytest.fixture
def case():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 4)).double()
    x = torch.randn(50, 9, dtype=torch.double) * torch.linspace(0.1, 2, 9) + 0.4
    labels = torch.randint(4, (50,))
    return network, survey(network, (9,)).sites, [(x[:25], labels[:25]), (x[25:], labels[25:])]


def ours(metric, case, name: str = "0") -> np.ndarray:
    network, sites, batches = case
    found = metric.measure(network, sites, batches)[name]
    return analyse_in(SVD(), sites[name].weight, found).decompose(RANK).to_tensor().detach().numpy()


def data(case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    network, _, batches = case
    x = torch.cat([x for x, _ in batches]).numpy()
    return network[0].weight.detach().numpy(), network[0].bias.detach().numpy(), x


def truncated(matrix: np.ndarray) -> np.ndarray:
    u, sigma, v = np.linalg.svd(matrix, full_matrices=False)
    return u[:, :RANK] * sigma[:RANK] @ v[:RANK]


def test_gram_is_the_eigenproblem_of_the_outputs(case):
    """[ZZHS16] without a bias: project on the leading eigenvectors of `Σ y yᵀ`."""
    weight, _, x = data(case)
    outputs = x @ weight.T
    vectors = np.linalg.eigh(outputs.T @ outputs)[1][:, ::-1][:, :RANK]
    assert np.allclose(ours(Gram(), case), vectors @ vectors.T @ weight, atol=1e-9)


def test_covariance_is_the_principal_components_of_the_outputs(case):
    """[AFM23]: those of the centred outputs."""
    weight, _, x = data(case)
    vectors = np.linalg.eigh(np.cov(x @ weight.T, rowvar=False))[1][:, ::-1][:, :RANK]
    assert np.allclose(ours(Covariance(), case), vectors @ vectors.T @ weight, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_activation_scales_columns(case, alpha):
    """[ASVD23]: the SVD of `W S`, S the mean absolute inputs to the power α, times `S⁻¹`."""
    weight, _, x = data(case)
    scale = np.abs(x).mean(0) ** alpha
    assert np.allclose(ours(Activation(alpha=alpha), case), truncated(weight * scale) / scale, atol=1e-9)


def test_fisher_scales_columns(case):
    """[FWSVD22]: rows of `Wᵀ` times the roots of their summed squared gradients."""
    network, _, batches = case
    weight, _, _ = data(case)
    squares = np.zeros_like(weight)
    for x, labels in batches:
        loss = functional.cross_entropy(network(x), labels)
        squares += torch.autograd.grad(loss, network[0].weight)[0].numpy() ** 2
    scale = np.sqrt(squares.sum(0))
    assert np.allclose(ours(Fisher(), case), truncated(weight * scale) / scale, atol=1e-9)


def test_kfac_whitens_both_sides_with_any_root(case):
    """Another root of each moment gives the same approximation as the symmetric ones."""
    network, _, batches = case
    weight, _, x = data(case)
    deltas = []
    for inputs, labels in batches:
        outputs = network[0](inputs)
        loss = functional.cross_entropy(network[1:](outputs), labels, reduction="sum")
        deltas.append(torch.autograd.grad(loss, outputs)[0].numpy())
    delta = np.concatenate(deltas)
    into = np.linalg.cholesky(x.T @ x / len(x))
    # Gradients of four classes have three directions: Cholesky's factor of their moment does not exist.
    values, vectors = np.linalg.eigh(delta.T @ delta / len(delta))
    kept = values > 1e-10 * values.max()
    out = vectors[:, kept] * np.sqrt(values[kept])
    inverse = vectors[:, kept] / np.sqrt(values[kept])
    expected = inverse @ truncated(out.T @ weight @ into) @ np.linalg.inv(into)
    assert np.allclose(ours(KFAC(), case), expected, atol=1e-8)
