"""Whether an update may enter the mean; pure functions that raise the named error."""

import math
from collections.abc import Collection, Sequence

import numpy as np

from shared.adapters import Arrays
from shared.errors import BadUpdate, NotFinite, UnplannedContribution
from shared.rounds import Mechanism

_TAILS = 8.0
_OPTIMIZER_GAIN = 20.0


def l2_norm(arrays: Arrays) -> float:
    """Return the L2 norm over all tensors together."""
    return math.sqrt(
        sum(float(np.vdot(a, a)) for a in (v.astype(np.float64) for v in arrays.values()))
    )


def check_alike(many: Sequence[Arrays]) -> None:
    """Raise unless there is at least one, and all hold the same tensors of the same shapes.

    Raises:
        ValueError: there is none, or one differs from the first.
    """
    if not many:
        raise ValueError("nothing to combine")
    wanted = {name: array.shape for name, array in many[0].items()}
    for index, arrays in enumerate(many):
        found = {name: array.shape for name, array in arrays.items()}
        if found != wanted:
            raise ValueError(f"tensors of entry {index} are {found}, the first has {wanted}")


def check_finite(arrays: Arrays, *, sender: str) -> None:
    """Raise unless every value is a finite number.

    Raises:
        NotFinite: a tensor holds NaN or infinity.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise NotFinite(f"tensor {name!r} holds NaN or infinity", where=sender, tensor=name)


def norm_bound(mechanism: Mechanism, *, customers: int, parameters: int) -> float:
    """Return an L2 norm that no honest update of ``mechanism`` reaches; all inputs are public.

    A step's sum is at most ``customers * clip`` plus noise of norm ``sigma * clip * sqrt(d)``;
    eight such norms and a factor 20 for the local optimizer's momentum leave room, so that only a
    blown-up or forged update is caught.
    """
    clip = mechanism.clip
    noise = _TAILS * mechanism.sigma * clip * math.sqrt(parameters)
    step = (customers * clip + noise) / mechanism.batch_constant
    return _OPTIMIZER_GAIN * mechanism.steps * mechanism.learning_rate * step


def check_norm(arrays: Arrays, bound: float, *, sender: str) -> None:
    """Raise unless the update's L2 norm is at most ``bound``.

    Raises:
        BadUpdate: it is larger.
    """
    norm = l2_norm(arrays)
    if not norm <= bound:
        raise BadUpdate(
            f"the update's norm {norm:.3g} is beyond any that the plan can make ({bound:.3g})",
            where=sender,
            remedy="look at the store's training",
        )


def check_sender(sender: str, planned: Collection[str], seen: Collection[str]) -> None:
    """Raise unless ``sender`` is planned and has not contributed yet.

    Raises:
        UnplannedContribution: a stranger, or the same sender twice.
    """
    if sender not in planned:
        raise UnplannedContribution("the sender is not in the plan's cohort", where=sender)
    if sender in seen:
        raise UnplannedContribution(
            "the sender has already contributed to this round", where=sender
        )
