"""Whitening with public texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput, NotFinite
from strategies.whitening import Whitening


def cone(count: int, seed: int = 0, hidden: int = 40) -> np.ndarray:
    """Return points of a narrow cone: far from zero, most of the variance in two directions."""
    rng = np.random.default_rng(seed)
    scale = np.where(np.arange(hidden) < 2, 30.0, 0.5)
    return (100 + rng.normal(size=(count, hidden)) * scale).astype(np.float32)


def test_public_texts_end_up_round_and_of_unit_length() -> None:
    public = cone(4000)
    found = Whitening.fit(public, directions=16, shrinkage=1e-4).apply(public)
    assert found.shape == (4000, 16)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    variances = found.var(axis=0)
    assert variances.max() / variances.min() < 1.5
    assert np.abs(found.mean(axis=0)).max() < 0.02


@given(shrinkage=st.floats(0.01, 1.0), directions=st.integers(1, 60))
def test_any_text_has_unit_length_and_no_more_directions_than_there_are(
    shrinkage: float, directions: int
) -> None:
    whitening = Whitening.fit(cone(30), directions=directions, shrinkage=shrinkage)
    found = whitening.apply(cone(20, seed=1))
    assert found.shape == (20, min(directions, 29))
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
    assert np.isfinite(whitening.apply(whitening.mean[None])).all()


def test_bad_public_texts_are_refused() -> None:
    with pytest.raises(BadInput, match="two public texts"):
        Whitening.fit(cone(1))
    broken = cone(10)
    broken[3, 3] = np.nan
    with pytest.raises(NotFinite):
        Whitening.fit(broken)
