"""Public whitening: features in which clipping costs little and no direction drowns in noise.

States of a language model lie in a narrow cone: a few directions hold most of their length, so that
clipping keeps those and noise drowns the rest. Mean and covariance of **public** texts, which need
not be of the same domain, take the cone apart; unit length then makes every text count alike.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadInput, NotFinite

Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitening:
    """``x`` becomes ``(x - mean) @ directions``, then unit length.

    ``mean`` is ``(hidden,)``, ``directions`` ``(hidden, d)``; both are made from public texts.
    """

    mean: Features
    directions: Features

    @classmethod
    def fit(cls, public: Features, *, directions: int = 256, shrinkage: float = 0.2) -> Self:
        """Return the whitening of public features.

        Args:
            public: ``(texts, hidden)``.
            directions: d, how many of the strongest to keep; fewer where the texts span fewer.
            shrinkage: share of the mean variance that is added to each direction's, so that
                directions in which the public texts hardly differ are not blown up.

        Raises:
            BadInput: fewer than two texts, or a number is out of range.
            NotFinite: a feature is NaN or infinite.
        """
        if len(public) < 2 or directions < 1 or not 0 < shrinkage <= 1:  # noqa: PLR2004
            raise BadInput(
                "whitening needs two public texts, one direction and a shrinkage in (0, 1]",
                where="public texts",
                remedy="add public texts",
            )
        exact = public.astype(np.float64)
        if not np.isfinite(exact).all():
            raise NotFinite("a public feature holds NaN or infinity", where="public texts")
        mean = exact.mean(axis=0)
        _, sizes, right = np.linalg.svd(exact - mean, full_matrices=False)
        variances = sizes**2 / (len(exact) - 1)
        kept = min(directions, int((variances > variances[0] * 1e-10).sum()))
        scale = np.sqrt(variances[:kept] + shrinkage * variances[:kept].mean())
        return cls(
            mean=mean.astype(np.float32),
            directions=(right[:kept].T / scale).astype(np.float32),
        )

    def apply(self, features: Features) -> Features:
        """Return ``(texts, d)`` of unit length; a text at the very mean becomes zeros."""
        out = (features - self.mean) @ self.directions
        length = np.linalg.norm(out, axis=1, keepdims=True)
        unit: Features = (out / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
        return unit
