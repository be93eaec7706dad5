"""Weights, layers and sites of awkward shapes, for the tests of the formats."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from decompositions.core.site import Site, survey

SHAPES = [(12, 20), (20, 12), (1, 9), (9, 1), (13, 13), (8, 5, 3), (6, 4, 3, 3), (7, 3, 2, 3, 2)]


def layer_of(shape: tuple[int, ...], **options) -> nn.Module:
    kind = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[len(shape)]
    layer = kind(shape[1], shape[0], *([shape[2:]] if len(shape) > 2 else []), **options)
    return layer.double()


def input_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A sample for such a layer: a sequence of three vectors, or an image of unequal sides."""
    return (3, shape[1]) if len(shape) == 2 else (shape[1], *(9, 8, 7)[: len(shape) - 2])


def site_of(shape: tuple[int, ...], **options) -> Site:
    network = nn.Sequential(layer_of(shape, **options))
    return survey(network, input_of(shape)).sites["0"]


def weight_of(shape: tuple[int, ...], rank: int | None = None, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    matrix = torch.randn(shape[0], int(np.prod(shape[1:])), dtype=torch.float64, generator=generator)
    if rank is not None:
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        matrix = u[:, :rank] * s[:rank] @ v[:rank]
    return (matrix * scale).reshape(shape)


def tensor_of(sizes: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(*sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
