"""Higher-order orthogonal iteration (HOOI) [LMV00b]: the bases of a Tucker decomposition, refined until they stay.

Each mode in turn takes the leading eigenvectors of its Gram matrix, all other modes being in their bases. The squared
norm of the core is then the sum of their eigenvalues, so that the error `‖X‖² − ‖core‖²` costs nothing to watch; it
never rises. Sweeps end when one lowers it by less than a share of itself: 1e-4 is stricter than the default of
TensorLy's `partial_tucker`, with which published code runs, where the error has to fall by 1e-4 of ‖X‖.

[LMV00b] De Lathauwer, De Moor & Vandewalle, On the best rank-1 and rank-(R1, …, RN) approximation of higher-order
    tensors, SIAM J. Matrix Anal. Appl. 2000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from decompositions.linalg.spectrum import eigh

# Changes of the squared error below this share of the squared norm are rounding; none shows in float32 factors.
ROUNDING = 1e-13


def hooi(
    gram: Callable[[Sequence[Tensor], int], Tensor],
    bases: Sequence[Tensor],
    squared_norm: float,
    *,
    max_sweeps: int,
    tolerance: float,
) -> list[Tensor]:
    """Return refined bases, each `(size, rank)`; `gram(bases, mode)` is a mode's Gram matrix, the others in `bases`.

    Sweeps end when the squared error falls by less than `tolerance` of itself, or after `max_sweeps`. All bases of a
    whole mode are equally good: they stay, and one mode that is cut alone is at its best before the first sweep.
    """
    bases = list(bases)
    cut = [mode for mode, basis in enumerate(bases) if 0 < basis.shape[1] < len(basis)]
    kept = 0.0
    for _ in range(max_sweeps if len(cut) > 1 else 0):
        before = kept
        for mode in cut:
            rank = bases[mode].shape[1]
            energy, vectors = eigh(gram(bases, mode))
            bases[mode], kept = vectors[:, :rank], float(energy[:rank].sum())
        if kept - before <= tolerance * (squared_norm - kept) + ROUNDING * squared_norm:
            break
    return bases
