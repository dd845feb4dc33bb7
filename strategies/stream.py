"""The mean of a round, taken as updates arrive, so that memory does not grow with the stores."""

from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from shared.adapters import Arrays
from strategies.mean import Floats

_BLOCK = 1 << 16
_SLACK = Fraction(1, 10**12)
"""For weights that do not add up to the denominator in the last bit."""


class StreamingMean:
    """The weighted sum of noised updates over a fixed public ``denominator``, added in place.

    Holds one float64 a value, whatever the number of stores. Updates added in the same order give
    the bits of :func:`strategies.mean.noisy_mean`; in another order, or in parts that interleave,
    the same up to the rounding of float64 sums.

    Law: a sum of updates that carry their noise already is post-processing and costs no privacy,
    and so is every partial sum. What was added cannot be taken out again, and NaN stays: check an
    update (sender, finite, norm) before its first part is added. Whose a part is, is not known
    here; only that every value ends up with the same sum of weights.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], denominator: float) -> None:
        """Start at zero.

        Args:
            shapes: shape of each tensor, by name.
            denominator: the weights of the whole planned cohort, summed.

        Raises:
            ValueError: the denominator is not above 0.
        """
        if not denominator > 0:
            raise ValueError(f"denominator {denominator}")
        self._denominator = denominator
        self._most = Fraction(denominator) * (1 + _SLACK)
        self._totals = {name: np.zeros(shape, dtype=np.float64) for name, shape in shapes.items()}
        self._edges: dict[str, dict[int, Fraction]] = {
            name: defaultdict(Fraction) for name in shapes
        }

    def add(self, update: Arrays, weight: float = 1.0) -> None:
        """Add a whole update.

        Raises:
            ValueError: its tensors are not those of the mean, its weight is not above 0 or more
                than the denominator has left; nothing of it was added.
        """
        found = {name: array.shape for name, array in update.items()}
        wanted = {name: total.shape for name, total in self._totals.items()}
        if found != wanted:
            raise ValueError(f"tensors {found}, expected {wanted}")
        for name, total in self._totals.items():
            self._check_weight(name, 0, total.size, weight)
        for name in self._totals:
            self._add(name, 0, update[name].reshape(-1), weight)

    def add_part(
        self, name: str, offset: int, chunk: NDArray[np.float32], weight: float = 1.0
    ) -> None:
        """Add the values ``offset`` to ``offset + chunk.size`` of one update's tensor.

        Args:
            name: the tensor.
            offset: index of the first value, in C order.
            chunk: ``(n,)``, float32.
            weight: the update's, the same for all its parts.

        Raises:
            ValueError: an unknown tensor, a part beyond its end, a weight that is not above 0 or
                more than the denominator has left for some value; nothing of it was added.
        """
        if name not in self._totals:
            raise ValueError(f"unknown tensor {name!r}")
        size, end = self._totals[name].size, offset + chunk.size
        if chunk.ndim != 1 or not 0 <= offset <= end <= size:
            raise ValueError(f"part {chunk.shape} at {offset} of {name!r} with {size} values")
        self._check_weight(name, offset, end, weight)
        self._add(name, offset, chunk, weight)

    @property
    def weight(self) -> float:
        """The weights of the updates added, summed.

        Raises:
            ValueError: an update was added in part only.
        """
        found = {self._whole(name) for name, total in self._totals.items() if total.size}
        if len(found) > 1 or None in found:
            raise ValueError("an update was added in part only")
        return float(found.pop() or 0) if found else 0.0

    def result(self) -> Floats:
        """Return the mean so far, float32; more may be added afterwards.

        Raises:
            ValueError: an update was added in part only.
        """
        _ = self.weight
        out: Floats = {}
        for name, total in self._totals.items():
            out[name] = np.empty(total.shape, dtype=np.float32)
            np.divide(total, self._denominator, out=out[name], casting="same_kind")
        return out

    def _add(self, name: str, start: int, values: NDArray[np.float32], weight: float) -> None:
        total = self._totals[name].reshape(-1)[start : start + values.size]
        for at in range(0, values.size, _BLOCK):
            block, sums = values[at : at + _BLOCK], total[at : at + _BLOCK]
            sums += block if weight == 1 else np.multiply(block, weight, dtype=np.float64)
        self._cover(name, start, start + values.size, Fraction(weight))

    def _cover(self, name: str, start: int, end: int, weight: Fraction) -> None:
        """Note the weight on ``start`` to ``end``; edges that meet cancel, so few are ever kept."""
        edges = self._edges[name]
        for at, step in ((start, weight), (end, -weight)):
            edges[at] += step
            if not edges[at]:
                del edges[at]

    def _levels(self, name: str) -> list[tuple[int, Fraction]]:
        """Return ``(start, weight)`` of each stretch of values that has the same weight."""
        edges = sorted(self._edges[name].items())
        return list(zip((at for at, _ in edges), accumulate(w for _, w in edges), strict=True))

    def _check_weight(self, name: str, start: int, end: int, weight: float) -> None:
        if not 0 < weight < float("inf"):
            raise ValueError(f"weight {weight}")
        left = self._most - Fraction(weight)
        levels = ((0, Fraction()), *self._levels(name), (end, Fraction()))
        for (at, before), (stop, _) in pairwise(levels):
            if before > left and max(at, start) < min(stop, end):
                raise ValueError(f"{name!r} has more than the denominator {self._denominator}")

    def _whole(self, name: str) -> Fraction | None:
        """Return the weight that all of the tensor has; ``None`` where some values have more."""
        levels = self._levels(name)
        if not levels:
            return Fraction()
        whole = [at for at, _ in levels] == [0, self._totals[name].size]
        return levels[0][1] if whole else None
