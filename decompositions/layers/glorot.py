"""Start compressed layers at Glorot's variance, as the authors of tensor trains did, in place of one that is kept.

    core by core [GPNV16]       G_k (r_{k−1}, m_k, n_k, r_k) normal, of variance 2 / (r_{k−1} n_k + m_k r_k)
    the whole layer [YKT17]     all P numbers of all factors uniform, of variance 1 / √P: a vector has no fans, and
                                Keras takes √P for both

Both let the scale of the output depend on modes and ranks; `initialise` keeps it.

[GB10] Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
[GPNV16] Garipov, Podoprikhin, Novikov & Vetrov, Ultimate tensorization, arXiv:1611.03214, 2016: the authors' code.
[YKT17] Yang, Krompass & Tresp, Tensor-train recurrent neural networks for video classification, ICML 2017: their code.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from decompositions.layers.base import Factored


def glorot(layer: Factored, over: Literal["cores", "layer"], gain: float = 1.0) -> None:
    """Draw all factors of `layer` anew, in place, and multiply its output by `gain`; biases and norms stay.

    A factor that is no core counts as torch's linear layer or convolution of this weight. The numbers are those of
    torch's generator.
    """
    factors = {name: factor for name, factor in layer.named_parameters() if factor.ndim > 1}
    total = sum(factor.numel() for factor in factors.values())
    for number, (name, factor) in enumerate(factors.items()):
        scale = gain if number == 0 else 1.0  # the layer is linear in each of them
        if over == "cores":
            nn.init.normal_(factor, std=scale * math.sqrt(2 / sum(_fans(name, factor))))
        else:
            limit = scale * math.sqrt(3 / math.sqrt(total))
            nn.init.uniform_(factor, -limit, limit)


def _fans(name: str, factor: Tensor) -> tuple[int, int]:
    """Return how many numbers go into and come out of a factor."""
    kind, shape = name.rpartition(".")[0], list(factor.shape)
    if kind not in ("cores", "out_cores", "in_cores"):
        return nn.init._calculate_fan_in_and_fan_out(factor)
    if factor.ndim == 3:  # a core of outputs or of inputs alone
        shape.insert(2 if kind == "out_cores" else 1, 1)
    before, out, into, after = shape
    return before * into, out * after
