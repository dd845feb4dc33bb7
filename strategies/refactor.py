"""New factors for the same product, between rounds: FedSVD (Lee et al. 2025).

"FedSVD: Adaptive Orthogonalization for Private Federated Learning with LoRA": headquarters factors
the aggregated product ``B @ A`` again, as ``B' = U S`` and ``A' = V^T``; stores then train ``B'``
with ``A'`` frozen.

Law: the product is a noised mean that was released, so factoring it is post-processing and costs
no privacy. ``A'`` has orthonormal rows, so the gradient of ``B'`` is no longer than that of the
weight, and noise in ``B'`` is not stretched on its way into the product.

What it cannot do: rows of ``B @ A`` lie in the row space of ``A``. With one frozen ``A`` for all,
``A'`` spans what ``A`` spanned; where ``A`` was orthonormal already it is a rotation, to which SGD
with L2 clipping is blind, and only coordinate-wise optimizers see a difference. New directions
come from products of different ``A`` (:func:`strategies.stacking.stack`).

``A'`` follows from no seed: it has to travel to the stores, ``r * d_in`` values a weight.
"""

from collections.abc import Mapping

import numpy as np

from shared.adapters import Arrays
from strategies.factors import Matrix
from strategies.mean import Floats
from strategies.stacking import Pair, truncate


def reorthogonalise(b: Matrix, a: Matrix) -> Pair:
    """Return ``(B', A')`` with the same product, ``A'`` with orthonormal rows (Lee et al. 2025).

    Args:
        b: ``(d_out, r)``; zeros too, for which ``A'`` is a basis of the rows of ``a``.
        a: ``(r, d_in)``.

    Raises:
        BadInput: ``r`` is larger than ``d_out`` or ``d_in``.
    """
    return truncate(b, a, a.shape[0])


def next_frozen(products: Mapping[str, Pair], rank: int) -> tuple[Floats, Floats]:
    """Return the next round's trained ``B`` and frozen ``A`` of each weight of an ``ffa`` adapter.

    ``A`` is the ``rank`` strongest right singular vectors of the aggregated product. Where the
    pairs were stacked to a higher rank, the rest of the product is dropped, with the error that
    :func:`strategies.stacking.redistribute` names.

    Args:
        products: the aggregated ``(B, A)`` of each weight, ``(d_out, r)`` and ``(r, d_in)``.
        rank: at most the smallest ``min(r, d_out, d_in)``.

    Raises:
        BadInput: the rank does not fit a product.
    """
    pairs = {name: truncate(b, a, rank) for name, (b, a) in products.items()}
    return {name: b for name, (b, _) in pairs.items()}, {name: a for name, (_, a) in pairs.items()}


def carry(trained: Arrays, before: Arrays, after: Arrays) -> Floats:
    """Return server momentum or another ``B``-shaped state in the coordinates of the new ``A``.

    The nearest ``X`` with ``X @ after = trained @ before``; exact where both span the same rows.
    Without it, momentum of the old coordinates would be added to the new ones.

    Args:
        trained: ``(d_out, r)`` for each weight.
        before: the old ``A``, ``(r, d_in)``.
        after: the new ``A``, ``(rank, d_in)``, orthonormal rows.
    """
    return {
        name: np.asarray(value @ (before[name] @ after[name].T), dtype=np.float32)
        for name, value in trained.items()
    }
