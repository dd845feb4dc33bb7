"""A linear head for intents: softmax regression on public features, gradients clipped by customer.

One step at a store: the gradient of each customer's texts, averaged, clipped to C, summed. Noise is
the caller's to add, before the sum leaves the store.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from strategies.whitening import Features

Weights = NDArray[np.float32]
Labels = NDArray[np.int64]
_CHUNK_VALUES = 1 << 24


def probabilities(weights: Weights, features: Features) -> Features:
    """Return the softmax of ``features @ weights.T``, ``(texts, labels)``."""
    logits = features @ weights.T
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def clipped_sum(
    weights: Weights,
    features: Features,
    labels: Labels,
    clip: float,
    customers: Labels | None = None,
) -> Weights:
    """Return the sum over customers of their clipped mean gradients of the cross entropy.

    Adding or removing one customer moves it by at most ``clip`` (L2).

    Args:
        weights: ``(labels, d)``.
        features: ``(texts, d)``.
        labels: of each text.
        clip: C.
        customers: of each text, rising; ``None``: each text is a customer of its own, which needs
            no gradient of a single text to be formed: it is an outer product, whose norm is that of
            its two vectors.
    """
    errors = probabilities(weights, features)
    errors[np.arange(len(labels)), labels] -= 1
    if customers is None:
        norms = np.linalg.norm(errors, axis=1) * np.linalg.norm(features, axis=1)
        errors *= _shrink(norms, clip)[:, None]
        total: Weights = errors.T @ features
        return total
    out = np.zeros(weights.shape, dtype=np.float64)
    for first, last in _groups(customers, weights.size):
        part = slice(first, last)
        starts = np.flatnonzero(np.diff(customers[part], prepend=-1))
        counts = np.diff(starts, append=last - first)
        single = errors[part, :, None] * features[part, None, :]
        means = np.add.reduceat(single, starts, axis=0) / counts[:, None, None]
        norms = np.linalg.norm(means.reshape(len(means), -1), axis=1)
        out += np.tensordot(_shrink(norms, clip), means, axes=1)
    return out.astype(np.float32)


def accuracy(weights: Weights, features: Features, labels: Labels) -> float:
    """Return the share of texts whose likeliest label is the right one."""
    return float(((features @ weights.T).argmax(axis=1) == labels).mean())


def _shrink(norms: Features, clip: float) -> Features:
    shrunk: Features = np.minimum(1.0, clip / np.maximum(norms, 1e-30)).astype(np.float32)
    return shrunk


def _groups(customers: Labels, values: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of texts of whole customers, of bounded memory, unless one customer is large."""
    room = max(1, _CHUNK_VALUES // values)
    edges = np.flatnonzero(np.diff(customers, prepend=-1, append=customers.max(initial=0) + 1))
    first = 0
    for edge, after in zip(edges, [*edges[1:], None], strict=True):
        if after is None or after - first > room:
            if edge > first:
                yield first, int(edge)
            first = int(edge)
