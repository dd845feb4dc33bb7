"""LoRA pairs for tests."""

from collections.abc import Sequence

import numpy as np

from strategies.stacking import Pair

D_OUT, D_IN = 14, 11


def random_pairs(seed: int, ranks: Sequence[int]) -> list[Pair]:
    """Return a pair of each rank, ``(14, r)`` and ``(r, 11)``."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.standard_normal((D_OUT, rank)).astype(np.float32),
            rng.standard_normal((rank, D_IN)).astype(np.float32),
        )
        for rank in ranks
    ]


def dense(pair: Pair) -> np.ndarray:
    """Return the product at full size, float64."""
    return pair[0].astype(float) @ pair[1].astype(float)
