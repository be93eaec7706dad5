"""Formats in a metric: the error that a frontier promises is the error in the metric, at every rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from decompositions.core.metric import ModeAxes, SiteMetric, analyse_in, mode_moments
from decompositions.cp import CP
from decompositions.linalg.moments import root_and_inverse
from decompositions.ntt import NTT
from decompositions.spatial_svd import SpatialSVD
from decompositions.svd import SVD
from decompositions.tt import TT
from decompositions.tucker import Tucker
from decompositions.tucker2 import Tucker2
from tests.decompositions.weights import site_of

FORMATS = [
    SVD(), SpatialSVD(), Tucker2(max_sweeps=0), Tucker(max_sweeps=0), TT(2), TT(2, kernel="first"), NTT(num_modes=2),
    CP(),
]  # fmt: skip
BOUNDED = (TT, NTT)  # the error is at most what their frontiers say


def moment_of(side: int, num_samples: int | None = None, seed: int = 0) -> Tensor:
    """The second moment of random vectors; singular if there are fewer of them than entries."""
    rows = torch.randn(num_samples or 2 * side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    return rows.T @ rows


def weight_of(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.double)


def kronecker_metric(format, shape: tuple[int, ...], num_samples: int | None = None) -> SiteMetric | None:
    """A metric that is a Kronecker product over the modes of a format, or None where a mode mixes outputs and inputs."""
    into = [moment_of(size, num_samples, seed) for seed, size in enumerate(shape[1:])]
    return SiteMetric(out=(moment_of(shape[0], num_samples, 9),), into=tuple(into))


@pytest.mark.parametrize("num_samples", [None, 3], ids=["regular", "singular"])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
@pytest.mark.parametrize("shape", [(6, 8), (6, 4, 3, 3)], ids=str)
@pytest.mark.parametrize("sides", ["into", "out", "both"])
def test_svd_is_the_best_of_its_rank_in_any_metric(shape, sides, scale, num_samples):
    """Against the singular values of `L_outᵀ W L_in` by NumPy, with roots by Cholesky or of the eigenvalues."""
    weight, columns = weight_of(shape), int(np.prod(shape[1:]))
    out = () if sides == "into" else (moment_of(shape[0], num_samples, 1) * scale,)
    into = () if sides == "out" else (moment_of(columns, num_samples, 2) * scale,)
    metric = SiteMetric(out=out, into=into)
    analysis = analyse_in(SVD(), weight, metric)
    frontier = analysis.frontier(site_of(shape), dense=False)
    roots = [root(part) if part else np.eye(side) for part, side in ((out, shape[0]), (into, columns))]
    values = np.linalg.svd(roots[0].T @ weight.reshape(shape[0], -1).numpy() @ roots[1], compute_uv=False)
    tails = np.append(np.cumsum(values[::-1] ** 2)[::-1], 0.0)
    floor = 1e-11 * tails[0]
    for index in range(len(frontier)):
        rank = frontier.rank(index)
        assert float(frontier.squared_error[index]) == pytest.approx(tails[rank], rel=1e-7, abs=floor)
        real = metric.squared_error(weight - analysis.decompose(rank).to_tensor())
        assert real == pytest.approx(tails[rank], rel=1e-7, abs=floor)


def root(part: tuple[Tensor, ...]) -> np.ndarray:
    values, vectors = np.linalg.eigh(part[0].numpy())
    return vectors * np.sqrt(values.clip(min=0))


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("shape", [(6, 8), (6, 4, 3, 3)], ids=str)
@pytest.mark.parametrize("diagonal", [False, True])
def test_a_metric_over_the_axes_of_a_convolution_is_exact(format, shape, diagonal):
    """Outputs, inputs and each kernel axis have a moment of their own: every format that does not cut axes serves it."""
    axes = format.mode_axes(weight_of(shape)) if not isinstance(format, Tucker) or len(shape) == 2 else None
    if axes is not None and len(axes.sizes) > len(shape):
        pytest.skip("it cuts the axes: the metric is replaced by a Kronecker product over its modes")
    metric = kronecker_metric(format, shape)
    if diagonal:
        metric = SiteMetric(*(tuple(part.diag() for part in side) for side in (metric.out, metric.into)))
    weight = weight_of(shape)
    analysis = analyse_in(format, weight, metric)
    frontier = analysis.frontier(site_of(shape))
    assert float(frontier.squared_norm) == pytest.approx(metric.squared_error(weight), rel=1e-9)
    for index in range(len(frontier) - 1):
        real = metric.squared_error(weight - analysis.decompose(frontier.rank(index)).to_tensor())
        assert real == pytest.approx(float(frontier.squared_error[index]), rel=1e-6)


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("shape", [(6, 8), (6, 4, 3, 3)], ids=str)
def test_without_a_metric_nothing_changes(format, shape):
    weight = weight_of(shape).float()
    own, given = format.analyse(weight), analyse_in(format, weight, None)
    frontier = own.frontier(site_of(shape))
    assert torch.equal(frontier.squared_error, given.frontier(site_of(shape)).squared_error)
    rank = frontier.rank(0)
    assert torch.equal(own.decompose(rank).to_tensor(), given.decompose(rank).to_tensor())


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("shape", [(6, 8), (6, 4, 3, 3)], ids=str)
@pytest.mark.parametrize("num_samples", [None, 3], ids=["regular", "singular"])
def test_at_full_rank_the_weight_is_what_the_metric_sees_of_it(format, shape, num_samples):
    """Directions without samples are free, all others are exact."""
    columns = int(np.prod(shape[1:]))
    metric = SiteMetric(into=(moment_of(columns, num_samples),))
    weight = weight_of(shape)
    analysis = analyse_in(format, weight, metric)
    frontier = analysis.frontier(site_of(shape), dense=False)
    largest = frontier.allowed[0][1] if len(frontier.allowed) == 1 else tuple(high for _, high in frontier.allowed)
    real = metric.squared_error(weight - analysis.decompose(largest).to_tensor())
    assert real == pytest.approx(0.0, abs=1e-9 * metric.squared_error(weight))
    assert analysis.decompose(largest).to_tensor().dtype == weight.dtype


def test_the_moments_of_modes_are_partial_traces_with_the_trace_of_the_whole():
    moment = moment_of(12)
    axes = ModeAxes((2, 3, 4), ((0,), (1,), (2,)))
    out, first, second = mode_moments(SiteMetric(into=(moment,)), axes)
    assert out is None
    by_axes = moment.reshape(3, 4, 3, 4)
    trace = float(moment.trace())
    assert torch.allclose(torch.kron(first, second).trace(), moment.trace())
    assert torch.allclose(first / first.trace(), torch.einsum("ikjk->ij", by_axes) / trace)
    assert torch.allclose(second / second.trace(), torch.einsum("kikj->ij", by_axes) / trace)


def test_a_kronecker_product_is_found_again():
    parts = [moment_of(3, seed=1), moment_of(4, seed=2)]
    axes = ModeAxes((2, 3, 4), ((0, 1), (2,)))
    first, second = mode_moments(SiteMetric(into=(torch.kron(*parts),)), axes)
    assert torch.allclose(torch.kron(first, second), torch.kron(torch.eye(2).double(), torch.kron(*parts)))


def test_the_root_of_a_singular_moment_has_a_pseudo_inverse():
    moment = moment_of(6, num_samples=2)
    root, inverse = root_and_inverse(moment)
    assert torch.allclose(root @ root, moment, atol=1e-9)
    assert torch.allclose(root @ inverse @ root, root, atol=1e-9)
    assert torch.linalg.matrix_rank(inverse) == 2


def test_a_format_that_serves_the_identity_alone_says_so():
    class Plain:
        def analyse(self, weight):
            raise AssertionError

        count = zeros = layer = analyse

    with pytest.raises(ValueError, match="format Plain serves the metric identity alone"):
        analyse_in(Plain(), weight_of((2, 3)), SiteMetric(into=(moment_of(3),)))
