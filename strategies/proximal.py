"""The FedProx term (Li et al. 2020): a store's steps are pulled back to where the round began.

Law: the term is made of the adapter that the store was given and of the adapter that it has now,
never of a customer's text. Both are already released or already noised, so the pull costs no
privacy, **if it is applied after clipping and noise**. Added to a customer's loss instead, it would
be clipped with that customer's gradient, and would grow with how many customers there are.
"""

from shared.adapters import Arrays
from strategies.mean import Floats, partway


def proximal_gradient(weights: Arrays, anchor: Arrays, mu: float) -> Floats:
    """Return the gradient of ``mu / 2 * ||weights - anchor||^2``: ``mu * (weights - anchor)``.

    Added to the noised, divided sum of a step (Li et al. 2020, "Federated Optimization in
    Heterogeneous Networks"). As a plain gradient step it diverges where ``learning_rate * mu`` is
    above 2; :func:`proximal_step` never does.

    Args:
        weights: the adapter now, any shapes, float32.
        anchor: the adapter at the start of the round, same shapes.
        mu: at least 0; 0 is FedAvg.

    Raises:
        ValueError: ``mu`` is negative or not a number.
    """
    _check(mu, "mu")
    return {
        name: (mu * (weights[name] - anchor[name])).astype(weights[name].dtype) for name in anchor
    }


def proximal_step(weights: Arrays, anchor: Arrays, mu: float, learning_rate: float) -> Floats:
    """Return ``argmin_v ||v - weights||^2 / (2 learning_rate) + mu / 2 ||v - anchor||^2``.

    In closed form ``anchor + (weights - anchor) / (1 + learning_rate * mu)``: the distance to the
    anchor shrinks by that factor in every tensor, so the step is stable for any ``mu``.

    Args:
        weights: the adapter after a noised step, any shapes, float32.
        anchor: the adapter at the start of the round, same shapes.
        mu: at least 0; 0 leaves ``weights`` as they are.
        learning_rate: of the step that was taken.

    Raises:
        ValueError: ``mu`` or ``learning_rate`` is negative or not a number.
    """
    _check(mu, "mu")
    _check(learning_rate, "learning rate")
    return partway(anchor, weights, 1.0 / (1.0 + learning_rate * mu))


def _check(value: float, name: str) -> None:
    if not value >= 0:
        raise ValueError(f"{name} {value}")
