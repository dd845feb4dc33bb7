"""LoRA factors: what is fixed and public, what is trained, and where training starts.

A weight ``W`` of shape ``(d_out, d_in)`` is served as ``W + scale * B @ S @ A`` with ``B``
``(d_out, r)`` and ``A`` ``(r, d_in)``, with orthonormal columns or rows where they are fixed and
public. Trained is

- ``rxr``: ``S`` ``(r, r)``, the middle alone (LoRA-XS, Balazy et al. 2024);
- ``ffa``: ``B @ S`` as one ``(d_out, r)`` matrix with ``A`` frozen (FFA-LoRA, Sun et al. 2024);
- ``lora``: ``B`` and ``A``, without ``S`` (LoRA, Hu et al. 2021): the baseline of FedAvg.

Under differential privacy the noise of a step grows with the square root of how many numbers are
trained; and the mean of ``S`` over stores is the mean of ``B S A``. Neither favours ``lora``: a
mean of ``A`` and ``B``, or a point between two adapters, is not that of their products.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.adapters import LORA_A, LORA_B, AdapterSpec
from shared.errors import BadInput
from strategies.seeds import seeded_rng

Matrix = NDArray[np.float32]


def singular_factors(weight: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """Return ``(B, A)``: the ``rank`` strongest left and right singular vectors of a public weight.

    The sign of each pair is fixed (largest entry of the left vector positive), so that every
    machine that holds the same base model gets the same factors up to rounding.

    Args:
        weight: ``(d_out, d_in)``, float32.
        rank: at most ``min(d_out, d_in)``.

    Raises:
        BadInput: the rank is larger than the weight allows.
    """
    if not 1 <= rank <= min(weight.shape):
        raise BadInput(
            f"rank {rank} does not fit a weight of shape {weight.shape}",
            where="[model] rank",
            remedy=f"choose 1 to {min(weight.shape)}",
        )
    left, _, right = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    b, a = left[:, :rank], right[:rank]
    signs = np.sign(b[np.abs(b).argmax(axis=0), np.arange(rank)])
    return (b * signs).astype(np.float32), (a * signs[:, None]).astype(np.float32)


def seeded_factors(
    shape: tuple[int, int], rank: int, seed: int, name: str
) -> tuple[Matrix, Matrix]:
    """Return ``(B, A)`` with orthonormal columns and rows drawn from a shared public seed.

    Args:
        shape: ``(d_out, d_in)`` of the weight.
        rank: at most ``min(shape)``.
        seed: the federation's public seed.
        name: the weight's name, so that each weight gets its own draw.
    """
    d_out, d_in = shape
    if not 1 <= rank <= min(shape):
        raise BadInput(
            f"rank {rank} does not fit a weight of shape {shape}",
            where="[model] rank",
            remedy=f"choose 1 to {min(shape)}",
        )
    rng = seeded_rng(seed, name, f"{d_out}x{d_in}", rank)
    return _orthonormal(rng, d_out, rank), np.ascontiguousarray(_orthonormal(rng, d_in, rank).T)


def factors(
    kind: str, rank: int, d_out: int, d_in: int, seed: int, weight: Matrix | None, name: str
) -> tuple[Matrix, Matrix]:
    """Return the public ``(B, A)`` of one weight: singular vectors for ``rxr``, seeded otherwise.

    ``lora`` fixes neither; its ``A`` starts from the seeded one.

    Args:
        kind: ``rxr``, ``ffa`` or ``lora``.
        rank: r.
        d_out: rows of the weight.
        d_in: columns of the weight.
        seed: the federation's public seed.
        weight: the public base weight ``(d_out, d_in)``; needed for ``rxr``.
        name: the weight's name.
    """
    if kind == "rxr":
        if weight is None:
            raise BadInput(f"the base weight {name!r} is needed for r x r adapters")
        return singular_factors(weight, rank)
    return seeded_factors((d_out, d_in), rank, seed, name)


def initial(spec: AdapterSpec) -> dict[str, Matrix]:
    """Return the adapter that changes nothing, from which training starts.

    All tensors are zero, but ``A`` of ``lora`` is seeded: between two zeros there is no gradient.

    Raises:
        BadInput: the rank is larger than a weight allows (``lora``).
    """
    start = {name: np.zeros(shape, dtype=np.float32) for name, shape in spec.shapes.items()}
    if spec.kind == "lora":
        for name in spec.sites:
            d_out, d_in = spec.shapes[name + LORA_B][0], spec.shapes[name + LORA_A][1]
            _, a = seeded_factors((d_out, d_in), spec.rank, spec.factor_seed, name)
            start[name + LORA_A] = a
    return start


def lora_pair(
    kind: str, name: str, tensors: Mapping[str, Matrix], fixed: tuple[Matrix, Matrix]
) -> tuple[Matrix, Matrix]:
    """Return ``(lora_B, lora_A)``, so that ``scale * lora_B @ lora_A`` is what an adapter adds.

    Args:
        kind: ``rxr``, ``ffa`` or ``lora``.
        name: the weight's name.
        tensors: the adapter.
        fixed: the ``(B, A)`` of :func:`factors`.
    """
    if kind == "lora":
        return tensors[name + LORA_B], tensors[name + LORA_A]
    b, a = fixed
    if kind == "rxr":
        return b @ tensors[name], a
    return tensors[name], a


def delta(b: Matrix, a: Matrix, scale: float) -> Matrix:
    """Return ``scale * b @ a``, ``(d_out, d_in)`` float32: what merging adds to the weight."""
    product: Matrix = np.float32(scale) * (b @ a)
    return product


def _orthonormal(rng: np.random.Generator, rows: int, columns: int) -> Matrix:
    q, r = np.linalg.qr(rng.standard_normal((rows, columns)))
    return (q * np.sign(np.diag(r))).astype(np.float32)
