"""Formats in a metric: the error that a frontier promises is the error in the metric, at every rank."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from decompositions.core.fallback import FormatWithFallback
from decompositions.core.metric import SiteMetric
from decompositions.core.mode_axes import ModeAxes, mode_moments
from decompositions.core.whitening import analyse_by_modes, analyse_in
from decompositions.cp import CP
from decompositions.cur import CUR
from decompositions.interpolative import Interpolative
from decompositions.kronecker import KroneckerSum
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
    CP(), CUR(), Interpolative(), KroneckerSum(),
]  # fmt: skip


def moment_of(side: int, num_samples: int | None = None, seed: int = 0) -> Tensor:
    """The second moment of random vectors; singular if there are fewer of them than entries."""
    rows = torch.randn(num_samples or 2 * side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    return rows.T @ rows


def weight_of(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.double)


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
def test_a_kronecker_product_over_the_modes_of_a_format_is_served_exactly(format, shape, diagonal):
    weight, modes = weight_of(shape), own_modes(format, weight_of(shape))
    moments = [moment_of(size, seed=seed) for seed, size in enumerate(modes.sizes)]
    if diagonal:
        moments = [moment.diag() for moment in moments]
    metric = SiteMetric(tuple(moments[: modes.num_out]), tuple(moments[modes.num_out :]))
    require_exact(format, weight, metric)


MATRICES, KERNELS = [(6, 8), (8, 5)], [(6, 4, 3, 3), (9, 2, 1, 3), (4, 3, 2, 2, 2)]
# Tucker's own modes, those of a matrix, cut such a moment: partial traces stand for it.
SERVE_ALL_INPUTS = [
    *itertools.product([SVD(), CUR(), Interpolative(), Tucker2()], [*MATRICES, *KERNELS]),
    *itertools.product([Tucker()], KERNELS),
]


@pytest.mark.parametrize(("format", "shape"), SERVE_ALL_INPUTS, ids=str)
@pytest.mark.parametrize("num_samples", [None, 5], ids=["regular", "singular"])
@pytest.mark.parametrize("sides", ["into", "both"])
def test_one_moment_of_all_inputs_is_served_exactly(format, shape, num_samples, sides):
    """By formats that see a weight as a matrix, and by Tucker-2, whose modes cut such a moment."""
    columns = int(np.prod(shape[1:]))
    out = () if sides == "into" else (moment_of(shape[0], num_samples, 1),)
    metric = SiteMetric(out=out, into=(moment_of(columns, num_samples, 2),))
    require_exact(format, weight_of(shape), metric)


def own_modes(format, weight: Tensor) -> ModeAxes:
    """The modes of the format, or of the one to which it leaves such a weight."""
    other = format.fallback(weight) if isinstance(format, FormatWithFallback) else None
    return format.mode_axes(weight) if other is None else own_modes(other, weight)


def require_exact(format, weight: Tensor, metric: SiteMetric) -> None:
    """Every point of the frontier has the error that its factors have; a bound, or an error before a refinement, is
    not exceeded.
    """
    analysis = analyse_in(format, weight, metric)
    frontier, whole = analysis.frontier(site_of(weight.shape), dense=False), metric.squared_error(weight)
    assert float(frontier.squared_norm) == pytest.approx(whole, rel=1e-8)
    refined = isinstance(format, (TT, NTT, Tucker2, Tucker))
    for index in range(len(frontier)):
        real = metric.squared_error(weight - analysis.decompose(frontier.rank(index)).to_tensor())
        promised = float(frontier.squared_error[index])
        assert real <= promised * (1 + 1e-6) + 1e-8 * whole
        assert refined or real == pytest.approx(promised, rel=1e-6, abs=1e-8 * whole)


def test_tucker2_before_the_refinement_of_a_basis_has_the_error_of_its_frontier():
    """With all outputs there is nothing to refine, so that the errors over the inputs' ranks are met exactly."""
    weight, metric = weight_of((6, 4, 3, 3)), SiteMetric(into=(moment_of(36),))
    analysis = analyse_in(Tucker2(), weight, metric)
    frontier = analysis.frontier(site_of(weight.shape), dense=False)
    points = [index for index in range(len(frontier)) if frontier.rank(index)[0] == 6]
    assert len(points) > 1
    for index in points:
        real = metric.squared_error(weight - analysis.decompose(frontier.rank(index)).to_tensor())
        assert real == pytest.approx(float(frontier.squared_error[index]), rel=1e-6, abs=1e-7)


def test_tucker2_of_whole_patches_beats_the_channels_alone():
    """What the moment over the kernel knows more lowers the real error."""
    weight, metric = weight_of((6, 4, 3, 3)), SiteMetric(into=(moment_of(36, num_samples=20),))
    channels = analyse_by_modes(Tucker2(), Tucker2().mode_axes(weight), weight, metric)
    whole = analyse_in(Tucker2(), weight, metric)
    errors = [metric.squared_error(weight - each.decompose((3, 2)).to_tensor()) for each in (channels, whole)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("format", [SVD(), CUR(), Interpolative()], ids=str)
def test_a_kronecker_product_inside_an_axis_is_that_of_the_whole(format):
    """A layer with too many inputs has two moments on one axis."""
    parts, weight = (moment_of(4, seed=1), moment_of(3, seed=2)), weight_of((6, 12))
    split = analyse_in(format, weight, SiteMetric(into=parts)).frontier(site_of((6, 12)))
    whole = analyse_in(format, weight, SiteMetric(into=(torch.kron(*parts),))).frontier(site_of((6, 12)))
    assert torch.allclose(split.squared_error, whole.squared_error, rtol=1e-7)


@pytest.mark.parametrize("diagonal", [False, True])
def test_moments_that_end_inside_modes_have_the_partial_traces_of_their_product(diagonal):
    """AlexNet's first linear layer: 256 channels times 36 positions, modes 16, 24 and 24."""
    parts = [moment_of(4, seed=1), moment_of(3, seed=2)]
    parts = [part.diagonal() for part in parts] if diagonal else parts
    axes = ModeAxes((6, 3, 4), ((0,), (1,), (2,)))
    _, (out, *found) = mode_moments(SiteMetric(into=tuple(parts)), axes)
    whole = torch.kron(*(part.diag() if diagonal else part for part in parts))
    _, (_, *wanted) = mode_moments(SiteMetric(into=(whole,)), axes)
    assert out is None
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one.parts[0], other.parts[0])
    train, weight = TT(2, modes={"6": [2, 3], "12": [3, 4]}), weight_of((6, 12))
    metrics = [SiteMetric(into=into) for into in (tuple(parts), (whole,))]
    frontiers = [analyse_in(train, weight, metric).frontier(site_of((6, 12))) for metric in metrics]
    assert torch.allclose(frontiers[0].squared_error, frontiers[1].squared_error)


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("shape", [(6, 8), (6, 4, 3, 3)], ids=str)
def test_factors_have_the_scales_of_those_without_a_metric(format, shape):
    """A metric of one weight for all inputs changes nothing but the errors: training starts from the same numbers."""
    weight, n = weight_of(shape), int(np.prod(shape[1:]))
    metric = SiteMetric(into=(torch.full((n,), 1e6, dtype=torch.float64),))
    plain, weighted = format.analyse(weight), analyse_in(format, weight, metric)
    rank = plain.frontier(site_of(shape)).rank(0)
    for one, other in zip(parts_of(plain.decompose(rank)), parts_of(weighted.decompose(rank)), strict=True):
        assert float(one.norm()) == pytest.approx(float(other.norm()), rel=0.05, abs=1e-9)


def parts_of(factors) -> list[Tensor]:
    values = [value for value in vars(factors).values() if value is not None]
    flat = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
    nested = [part for value in flat if hasattr(value, "to_tensor") for part in parts_of(value)]
    return [value for value in flat if isinstance(value, Tensor)] + nested


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
    _, (out, *others) = mode_moments(SiteMetric(into=(moment,)), axes)
    assert out is None
    first, second = (other.parts[0] for other in others)
    by_axes = moment.reshape(3, 4, 3, 4)
    trace = float(moment.trace())
    assert torch.allclose(torch.kron(first, second).trace(), moment.trace())
    assert torch.allclose(first / first.trace(), torch.einsum("ikjk->ij", by_axes) / trace)
    assert torch.allclose(second / second.trace(), torch.einsum("kikj->ij", by_axes) / trace)


def test_a_kronecker_product_is_found_again():
    parts = [moment_of(3, seed=1), moment_of(4, seed=2)]
    axes = ModeAxes((2, 3, 4), ((0, 1), (2,)))
    _, (first, second) = mode_moments(SiteMetric(into=(torch.kron(*parts),)), axes)
    found = torch.kron(first @ torch.eye(6), second @ torch.eye(4))
    assert torch.allclose(found, torch.kron(torch.eye(2).double(), torch.kron(*parts)))


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
