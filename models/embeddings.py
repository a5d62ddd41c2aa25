"""How embeddings are spread, and vectors of other origin that are spread alike."""

from __future__ import annotations

import numpy as np

# Of the mean of all: directions with less variance are taken to have this much.
LEAST = 1e-4


def covariance(rows: np.ndarray) -> np.ndarray:
    """The covariance of the columns, float64, [width, width]."""
    centred = rows.astype(np.float64) - rows.mean(0)
    return centred.T @ centred / len(rows)


def root(matrix: np.ndarray, power: float = 0.5) -> np.ndarray:
    """A symmetrical matrix without negative eigenvalues to a power of a half, or of minus a half."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, LEAST * max(float(values.mean()), 1e-30))
    return (vectors * values**power) @ vectors.T


def spread_alike(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Rows with the mean and the covariance of others: whitened, then coloured as these are (CORAL: Sun et al. 2016).

    Args:
        rows: [n, width].
        others: [any number, width].

    Returns:
        float64, [n, width].
    """
    whitened = (rows - rows.mean(0)) @ root(covariance(rows), -0.5)
    return whitened @ root(covariance(others)) + others.mean(0)
