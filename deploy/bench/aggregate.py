"""The mean of a round at headquarters."""

from typing import Any

import numpy as np

from deploy.bench.measure import at_least, medians, result
from strategies.mean import noisy_mean

_TENSOR = "tensor"


def measure_aggregate(*, updates: int, floats: int, repeats: int) -> dict[str, Any]:
    """Take the mean of ``updates`` updates of ``floats`` float32 values each."""
    at_least(1, updates=updates, floats=floats, repeats=repeats)
    stacked = np.random.default_rng(0).standard_normal((updates, floats), dtype=np.float32)
    given = [{_TENSOR: row} for row in stacked]
    target = np.empty_like(stacked)
    acts = {
        "ours": lambda: noisy_mean(given, updates, {_TENSOR: (floats,)}),
        "numpy": lambda: stacked.mean(axis=0, dtype=np.float64),
        "copy": lambda: np.copyto(target, stacked),
    }
    medians(acts, 1)  # pages and caches are warm for all three
    took = medians(acts, repeats)
    size = stacked.nbytes
    return result(
        "aggregate",
        size={
            "updates": updates,
            "floats": floats,
            "bytes": size,
            "repeats": repeats,
            "figure_is": "strategies.mean.noisy_mean, float64 sums, median",
            "yardstick_is": "numpy.mean of the same values stacked, float64 sums; "
            "a copy of the same bytes",
        },
        figure={"seconds": took["ours"], "gb_per_s": size / took["ours"] / 1e9},
        yardstick={
            "seconds": took["numpy"],
            "gb_per_s": size / took["numpy"] / 1e9,
            "copy_seconds": took["copy"],
            "copy_gb_per_s": size / took["copy"] / 1e9,
        },
        versions={"numpy": np.__version__},
    )
