"""What accounting needs to know about a use of private data, and nothing else.

The charter of kinds. A kind's meaning never changes once an event of it is in a ledger; a new
mechanism gets a new kind. In all of them the unit is the customer and the adjacency is
add-or-remove-one; a step adds Gaussian noise of standard deviation ``noise_multiplier * C`` to a
sum in which each customer's part has L2 norm at most ``C``.

``gaussian``
    ``steps`` releases over the whole batch, no sampling, no amplification. Sensitivity ``C``.

``poisson_gaussian``
    Each step samples every customer independently with probability ``sample_rate``; no cap.
    Sensitivity ``C`` on a sampled customer; amplified by sampling.

``poisson_truncated_gaussian``
    As above, then a sample of more than ``cap`` customers is cut to a random subset of ``cap``.
    Adding a customer may then push another out, so two neighbouring sums may differ by ``2 C``.
    dp-accounting's ``TruncatedSubsampledGaussianDpEvent`` needs the private number of customers,
    which no ledger may name, and has no Renyi figure. We charge Poisson sampling at the same rate
    with **half** the noise multiplier, which holds for every number of customers: couple the two
    runs by the same sample and order; with probability ``1 - q`` they are identical, otherwise
    they differ by at most ``2 C``, and the hockey-stick divergence is jointly convex.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from shared.errors import Refused
from shared.rounds import Mechanism

GAUSSIAN = "gaussian"
POISSON_GAUSSIAN = "poisson_gaussian"
POISSON_TRUNCATED_GAUSSIAN = "poisson_truncated_gaussian"
KINDS = (GAUSSIAN, POISSON_GAUSSIAN, POISSON_TRUNCATED_GAUSSIAN)

UNIT = "customer"
ADJACENCY = "add-or-remove-one"

SAMPLING_KINDS: Mapping[str, str] = {
    "whole": GAUSSIAN,
    "poisson_truncated": POISSON_TRUNCATED_GAUSSIAN,
}
"""``Mechanism.sampling`` to the kind of its event: only what the trainer really does.

It samples without a cap nowhere, so no sampling has the kind ``poisson_gaussian`` yet.
"""


def _bad(what: str, **facts: Any) -> Refused:  # noqa: ANN401 - facts
    return Refused(what, remedy="shared.privacy.events lists what a kind needs", **facts)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: object) -> bool:
    return (isinstance(value, float) or _whole(value)) and math.isfinite(float(str(value)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``steps`` uses of a cohort's data by one mechanism.

    ``noise_multiplier`` is sigma, without unit; ``sample_rate`` in (0, 1]; ``cap`` is 0 where the
    kind has none. Making an event that its kind does not allow raises ``Refused``.
    """

    kind: str
    noise_multiplier: float
    sample_rate: float
    cap: int
    steps: int
    cohort: str = ""
    unit: str = UNIT
    adjacency: str = ADJACENCY

    def __post_init__(self) -> None:
        """Refuse what cannot be accounted for."""
        if self.kind not in KINDS:
            raise _bad(f"unknown kind of privacy event {self.kind!r}", kind=self.kind, known=KINDS)
        if (self.unit, self.adjacency) != (UNIT, ADJACENCY):
            raise _bad(
                f"unit {self.unit!r} with adjacency {self.adjacency!r} has no accounting",
                unit=self.unit,
                adjacency=self.adjacency,
            )
        if not _real(self.noise_multiplier) or self.noise_multiplier <= 0:
            raise _bad(f"noise multiplier is {self.noise_multiplier!r}, must be finite and above 0")
        if not _real(self.sample_rate) or not 0 < self.sample_rate <= 1:
            raise _bad(f"sample rate is {self.sample_rate!r}, must be in (0, 1]")
        if not _whole(self.steps) or self.steps < 1:
            raise _bad(f"steps is {self.steps!r}, must be a whole number of at least 1")
        if not _whole(self.cap) or self.cap < 0:
            raise _bad(f"cap is {self.cap!r}, must be a whole number of at least 0")
        if self.kind == GAUSSIAN and (self.sample_rate != 1 or self.cap != 0):
            raise _bad("a gaussian event has sample rate 1 and no cap", kind=self.kind)
        if self.kind == POISSON_GAUSSIAN and self.cap != 0:
            raise _bad("a poisson_gaussian event has no cap", kind=self.kind)
        if self.kind == POISSON_TRUNCATED_GAUSSIAN and self.cap < 1:
            raise _bad("a poisson_truncated_gaussian event needs a cap of at least 1")

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the event of :meth:`as_dict`.

        Raises:
            Refused: a field is unknown or missing, or the event cannot be accounted for.
        """
        try:
            return cls(**value)
        except TypeError as error:
            raise _bad(f"not a privacy event: {error}") from None


def event_of(mechanism: Mechanism, *, cohort: str = "", steps: int | None = None) -> Event:
    """Return the event of one round of ``mechanism``.

    Args:
        mechanism: what the plan names.
        cohort: whose data it uses.
        steps: other steps than planned, for example those of all rounds together.

    Raises:
        Refused: the sampling is unknown, or the numbers cannot be accounted for.
    """
    kind = SAMPLING_KINDS.get(mechanism.sampling)
    if kind is None:
        raise _bad(
            f"unknown sampling {mechanism.sampling!r}",
            sampling=mechanism.sampling,
            known=sorted(SAMPLING_KINDS),
        )
    return Event(
        kind=kind,
        noise_multiplier=mechanism.sigma,
        sample_rate=mechanism.sample_rate,
        cap=mechanism.batch_cap if kind == POISSON_TRUNCATED_GAUSSIAN else 0,
        steps=mechanism.steps if steps is None else steps,
        cohort=cohort,
    )
