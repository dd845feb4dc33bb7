"""Plain FedAvg (McMahan et al. 2017), the baseline: its mean, and the bytes that it would move."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from shared.adapters import Arrays
from strategies.mean import Floats


def fedavg(models: Sequence[Arrays], examples: Sequence[int]) -> Floats:
    """Return the mean of whole models weighted by private example counts; for comparison only.

    Raises:
        ValueError: no model, or weights that do not fit.
    """
    if not models or len(models) != len(examples) or sum(examples) <= 0:
        raise ValueError(f"{len(models)} models, weights {list(examples)}")
    total = sum(examples)
    return {
        name: sum(
            (
                model[name].astype(np.float64) * (weight / total)
                for model, weight in zip(models, examples, strict=True)
            ),
            start=np.zeros_like(models[0][name], dtype=np.float64),
        ).astype(np.float32)
        for name in models[0]
    }


def payload_bytes(shapes: Mapping[str, tuple[int, ...]], *, bytes_per_value: int = 4) -> int:
    """Return the bytes of all tensors in one message, one way."""
    return bytes_per_value * sum(math.prod(shape) for shape in shapes.values())


def round_bytes(parameters: int, stores: int, *, bytes_per_value: int = 4) -> int:
    """Return the bytes of a FedAvg round: the whole model down to and up from every store."""
    return 2 * stores * parameters * bytes_per_value
