"""What each robust rule assumes, so that a caller can say it before using one.

Law: a rule of :mod:`strategies.robust` is not private by itself. On updates that stores noised
before sending it is post-processing, and costs nothing. Where noise is added **after** the rule
instead, its size must fit the rule: one customer moves the mean of ``m`` updates by ``C / m``, but
moves a median by up to ``C``, and can make a selection jump from one store to another. Noise that
was sized for the mean then protects nobody. Where updates are summed under encryption, headquarters
sees no single update and can apply none of the rules; a store may still bound its own norm.

Noise also hides what the rules look for: honest updates then differ by about ``sqrt(2 d)`` standard
deviations, and a fault smaller than that passes (Guerraoui et al. 2021, "Differential Privacy and
Byzantine Resilience in SGD: Do They Add Up?").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shared.errors import BadInput, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One robust rule, and what has to be said beside it."""

    name: str
    private: bool
    """Whether noise sized for the mean still protects a customer when it is added after the rule.

    Noise at the stores protects under every rule.
    """
    min_stores: Callable[[int], int]
    """The fewest updates with which the rule withstands a number of faulty stores."""
    source: str
    caution: str
    """Why it is not private as a mean is, or what it does not withstand; one line."""

    def require(self, stores: int, faults: int) -> None:
        """Raise unless ``stores`` updates are enough for ``faults`` faulty stores.

        Raises:
            Refused: they are too few.
            ValueError: ``faults`` is negative.
        """
        if faults < 0:
            raise ValueError(f"faults {faults}")
        least = self.min_stores(faults)
        if stores < least:
            raise Refused(
                f"{self.name} withstands {faults} faulty stores among at least {least}, "
                f"{stores} answered",
                remedy="plan more stores, assume fewer faults or use the mean",
                stores=stores,
                least=least,
            )


def _some_honest(faults: int) -> int:
    return faults + 1


def _majority(faults: int) -> int:
    return 2 * faults + 1


def _krum(faults: int) -> int:
    return 2 * faults + 3


_KRUM_SOURCE = "Blanchard et al. 2017"
_KRUM_CAUTION = "one customer can change which store is selected, so sensitivity has no small bound"
_ALL = (
    Rule(
        name="bound_norm",
        private=True,
        min_stores=_some_honest,
        source="Sun et al. 2019",
        caution="it limits a faulty store's pull to the bound, and does not remove it",
    ),
    Rule(
        name="cosine_filter",
        private=False,
        min_stores=_some_honest,
        source="Cao et al. 2021",
        caution="one customer can push a store's whole update over the threshold",
    ),
    Rule(
        name="trimmed_mean",
        private=False,
        min_stores=_majority,
        source="Yin et al. 2018",
        caution="one customer moves it by up to clip / (m - 2 f), not clip / m",
    ),
    Rule(
        name="median",
        private=False,
        min_stores=_majority,
        source="Yin et al. 2018",
        caution="one customer moves it by up to clip, not clip / m; noise is averaged less",
    ),
    Rule(
        name="krum",
        private=False,
        min_stores=_krum,
        source=_KRUM_SOURCE,
        caution=f"{_KRUM_CAUTION}; one store's noise is not averaged at all",
    ),
    Rule(
        name="multi_krum",
        private=False,
        min_stores=_krum,
        source=_KRUM_SOURCE,
        caution=_KRUM_CAUTION,
    ),
)

RULES: Mapping[str, Rule] = MappingProxyType({rule.name: rule for rule in _ALL})


def cautions(name: str, *, stores: int, faults: int, noise_at_store: bool) -> tuple[str, ...]:
    """Return what a caller has to be warned of before using a rule; empty where there is nothing.

    Args:
        name: of :data:`RULES`.
        stores: planned updates.
        faults: faulty stores to withstand.
        noise_at_store: whether each update carries the full noise before it leaves its store.

    Raises:
        BadInput: no such rule.
    """
    if name not in RULES:
        raise BadInput(f"no rule {name!r}", remedy=f"choose one of {', '.join(RULES)}")
    rule = RULES[name]
    found = []
    if not rule.private and not noise_at_store:
        found.append(f"{name} is not private with noise added after it: {rule.caution}")
    if stores < rule.min_stores(faults):
        found.append(
            f"{name} withstands {faults} faulty stores among at least {rule.min_stores(faults)}, "
            f"{stores} are planned"
        )
    return tuple(found)
