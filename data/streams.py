"""Random streams: one per purpose, all derived from the one seed of a run."""

from __future__ import annotations

import hashlib

import numpy as np


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for ``purpose``; the same on every platform and in every process."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator of random numbers for ``purpose``, independent of those for other purposes."""
    return np.random.Generator(np.random.PCG64(derived_seed(seed, *purpose)))
