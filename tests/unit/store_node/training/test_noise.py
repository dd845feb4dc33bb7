"""The noise is Gaussian, of the asked size, and never the same twice."""

import numpy as np
import torch
from scipy import stats

from store_node.training.noise import secure_normal_like, standard_normal


def test_the_noise_is_standard_normal() -> None:
    draws = standard_normal(200_000)
    assert abs(draws.mean()) < 0.012
    assert abs(draws.std() - 1.0) < 0.008
    # False alarms of a right generator: one run in a million.
    assert stats.kstest(draws, "norm").pvalue > 1e-6


def test_the_noise_has_the_asked_standard_deviation_and_shape() -> None:
    noise = secure_normal_like(torch.zeros(100, 200), 2.5)
    assert noise.shape == (100, 200)
    assert noise.dtype == torch.float32
    assert abs(noise.std().item() - 2.5) < 0.07


def test_two_draws_differ() -> None:
    assert not np.array_equal(standard_normal(8), standard_normal(8))
