"""LoRA pairs of different ranks: their exact sum, and the best pair of each rank.

A pair ``(B, A)`` has shapes ``(d_out, r)`` and ``(r, d_in)`` and stands for the product ``B @ A``.
The mean of products is not the product of means, and pairs of different ranks have no mean at all;
stacking and truncation work on the products without ever forming ``(d_out, d_in)``.

Law: both read noised pairs and public weights only: post-processing, no privacy cost. Where A and B
were both trained with noise, their product holds a term of noise times noise, which no aggregation
removes; that is why few numbers between fixed factors are the default.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadInput
from strategies.factors import Matrix

Pair = tuple[Matrix, Matrix]
_Wide = NDArray[np.float64]


def stack(pairs: Sequence[Pair], weights: Sequence[float]) -> Pair:
    """Return one pair whose product is ``sum_i weights_i * B_i @ A_i``, exactly.

    FLoRA (Wang et al. 2024, "FLoRA: Federated Fine-Tuning Large Language Models with Heterogeneous
    Low-Rank Adaptations"): ``B = [w_1 B_1 ... w_m B_m]``, ``A = [A_1; ...; A_m]``. The rank is the
    sum of ranks, and so are the bytes that go down to a store.

    Args:
        pairs: at least one; the same ``d_out`` and ``d_in``, any ranks.
        weights: one public constant a pair: a share of the planned cohort times the pair's scale.

    Raises:
        ValueError: no pair, or pairs or weights that do not fit.
    """
    if not pairs or len(pairs) != len(weights):
        raise ValueError(f"{len(pairs)} pairs, {len(weights)} weights")
    outer = {(b.shape[0], a.shape[1]) for b, a in pairs}
    if len(outer) > 1 or any(b.shape[1] != a.shape[0] for b, a in pairs):
        raise ValueError(f"pairs of shapes {[(b.shape, a.shape) for b, a in pairs]}")
    left = [np.float32(weight) * b for (b, _), weight in zip(pairs, weights, strict=True)]
    return np.concatenate(left, axis=1), np.concatenate([a for _, a in pairs], axis=0)


def product_svd(b: Matrix, a: Matrix) -> tuple[_Wide, _Wide, _Wide]:
    """Return ``(u, s, vt)`` of ``b @ a``, float64, through two QR and an SVD of ``(r, r)``.

    Costs ``O((d_out + d_in) r^2 + r^3)`` and holds no array larger than the factors. ``u`` and
    ``vt`` have orthonormal columns and rows even where the product has less than full rank; the
    largest entry of each left vector is positive.

    Args:
        b: ``(d_out, r)``.
        a: ``(r, d_in)``.
    """
    q_left, r_left = np.linalg.qr(b.astype(np.float64))
    q_right, r_right = np.linalg.qr(a.T.astype(np.float64))
    u, s, vt = np.linalg.svd(r_left @ r_right.T, full_matrices=False)
    left, right = q_left @ u, vt @ q_right.T
    signs = np.where(left[np.abs(left).argmax(axis=0), np.arange(s.size)] < 0, -1.0, 1.0)
    return left * signs, s, right * signs[:, None]


def truncate(b: Matrix, a: Matrix, rank: int) -> Pair:
    """Return the pair of ``rank`` whose product is nearest to ``b @ a``; its A is orthonormal.

    Args:
        b: ``(d_out, r)``.
        a: ``(r, d_in)``.
        rank: 1 to ``min(r, d_out, d_in)``.

    Raises:
        BadInput: the rank does not fit.
    """
    return _cut(product_svd(b, a), rank)


def redistribute(
    pairs: Sequence[Pair], weights: Sequence[float], ranks: Sequence[int]
) -> list[Pair]:
    """Return, for each of ``ranks``, the pair nearest to the weighted sum of the products.

    FlexLoRA (Bai et al. 2024, "Federated Fine-tuning of Large Language Models under Heterogeneous
    Tasks and Client Resources"): ``B = U_r S_r``, ``A = V_r^T``. The error in Frobenius norm is
    ``sqrt(s_{r+1}^2 + ...)``, in spectral norm ``s_{r+1}``: the singular values left out; no pair
    of that rank does better (Eckart, Young 1936). One SVD serves all ranks.

    Args:
        pairs: as in :func:`stack`.
        weights: as in :func:`stack`.
        ranks: the rank of each store that gets a pair.

    Raises:
        BadInput: a rank is larger than the sum of ranks or than the weight allows.
        ValueError: no pair, or pairs or weights that do not fit.
    """
    parts = product_svd(*stack(pairs, weights))
    return [_cut(parts, rank) for rank in ranks]


def _cut(parts: tuple[_Wide, _Wide, _Wide], rank: int) -> Pair:
    u, s, vt = parts
    if not 1 <= rank <= s.size:
        raise BadInput(
            f"rank {rank} does not fit a product of rank at most {s.size}",
            remedy=f"choose 1 to {s.size}",
        )
    b = (u[:, :rank] * s[:rank]).astype(np.float32)
    return b, vt[:rank].astype(np.float32)
