"""Personal adapters: a store serves a point between the shared adapter and one of its own.

After APFL (Deng, Kamani, Mahdavi 2020, "Adaptive Personalized Federated Learning"), which learns
the weight from private gradients. Here it is chosen by losses on **public** text, which are free.

Law: an own part that was trained on private text without differential privacy is not protected by
anything. **It never leaves the store**, and neither does what is made with it: the mixed adapter,
a loss on private text, or a weight that private text chose. The shared part may be known to all.
"""

import math
from collections.abc import Mapping

from shared.adapters import Arrays
from shared.errors import BadInput
from strategies.mean import Floats, partway


def personal(shared: Arrays, own: Arrays, weight: float) -> Floats:
    """Return ``(1 - weight) * shared + weight * own`` for each tensor; stays at the store.

    Args:
        shared: the federation's adapter, any shapes, float32.
        own: the store's own adapter, same shapes.
        weight: 0 (shared alone) to 1 (own alone).

    Raises:
        ValueError: the weight is not within 0 to 1.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight {weight}")
    return partway(shared, own, weight)


def choose_weight(losses: Mapping[float, float], *, margin: float = 0.0) -> float:
    """Return the smallest weight whose public loss is within ``margin`` of the best.

    0 must be among those tried: with ``margin`` 0 the choice is then never worse than the shared
    adapter alone on the public text. A larger margin keeps closer to the shared adapter, whose
    part is protected.

    Args:
        losses: loss on public or synthetic text for each weight tried, nats per token.
        margin: at least 0, in the losses' unit.

    Raises:
        BadInput: weight 0 was not tried, or a loss is not finite.
        ValueError: the margin is negative.
    """
    if not margin >= 0:
        raise ValueError(f"margin {margin}")
    if 0.0 not in losses:
        raise BadInput("weight 0, the shared adapter alone, was not tried", remedy="try it too")
    odd = [weight for weight, loss in losses.items() if not math.isfinite(loss)]
    if odd:
        raise BadInput(f"the loss at weight {odd[0]} is not finite", remedy="leave it out")
    best = min(losses.values())
    return min(weight for weight, loss in losses.items() if loss <= best + margin)
