"""Random draws that every machine repeats from a public seed."""

import hashlib

import numpy as np


def seeded_rng(*parts: object) -> np.random.Generator:
    """Return the generator that ``parts`` name (a seed, a tensor's name, its shape and so on).

    For public draws only: masks and factors. Noise that protects a customer never comes from here.
    """
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
