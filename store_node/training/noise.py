"""Gaussian noise from the operating system's secure source."""

import os

import numpy as np
import torch
from numpy.typing import NDArray


def uniform_bits(count: int) -> NDArray[np.float64]:
    """Return ``count`` uniforms in (0, 1), 53 bits each, from ``os.urandom``."""
    words = np.frombuffer(os.urandom(8 * count), dtype="<u8") >> np.uint64(11)
    return (words.astype(np.float64) + 0.5) * 2.0**-53


def standard_normal(count: int) -> NDArray[np.float64]:
    """Return ``count`` standard normals by Box and Muller (1958), from ``os.urandom``.

    Each is the sum of four draws divided by two, which defends against attacks on the floating
    point representation of a single draw (Holohan and Braghin 2021, section 5.1).
    """
    half = 2 * count
    radius = np.sqrt(-2.0 * np.log(uniform_bits(half)))
    angle = 2.0 * np.pi * uniform_bits(half)
    draws = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).reshape(4, count)
    total: NDArray[np.float64] = draws.sum(axis=0) / 2.0
    return total


def secure_normal_like(reference: torch.Tensor, std: float) -> torch.Tensor:
    """Return float32 noise of standard deviation ``std``, shaped and placed like ``reference``."""
    draws = standard_normal(reference.numel()) * std
    noise = torch.from_numpy(draws).to(torch.float32).reshape(reference.shape)
    return noise.to(reference.device)
