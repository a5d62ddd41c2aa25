"""What stands beside what in text, and vectors from it: positive pointwise mutual information and its singular vectors.

The settings are those of Levy, Goldberg and Dagan (2015): contexts smoothed by 0.75, singular values to the power of a
half.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from data.ragged import Ragged

WINDOW, SMOOTHING = 5, 0.75


def neighbours(parts: Iterable[Ragged], size: int) -> Any:
    """How often each two numbers stand within :data:`WINDOW` places of each other.

    Args:
        parts: rows of numbers, integers; windows do not reach over the ends of rows. Numbers below 0 take up a place
            and are not counted.
        size: numbers from 0 on.

    Returns:
        A symmetrical scipy.sparse.csr_matrix, float32, [size, size].
    """
    from scipy.sparse import coo_matrix

    together = coo_matrix((size, size), dtype=np.float32).tocsr()
    for part in parts:
        rows = part.compact()
        # Rows one behind the other, with gaps that no window reaches over.
        flat = np.full(len(rows.values) + WINDOW * len(rows), -1, np.int32)
        flat[np.arange(len(rows.values)) + WINDOW * np.repeat(np.arange(len(rows)), rows.lengths)] = rows.values
        # Of this part, one way: a sum of all parts is copied once a part, not once a distance.
        found = coo_matrix(together.shape, dtype=np.float32).tocsr()
        for distance in range(1, WINDOW + 1):
            left, right = flat[:-distance], flat[distance:]
            both = (left >= 0) & (right >= 0)
            found += coo_matrix((np.ones(both.sum(), np.float32), (left[both], right[both])), together.shape).tocsr()
        together = together + found + found.T
    return together


def neighbour_vectors(together: Any, width: int, seed: int | np.random.Generator = 0) -> np.ndarray:
    """Vectors of numbers that stand beside alike ones point alike ways.

    All are made equally long: what a common word has more of than a rare one says nothing on its meaning.

    Args:
        together: see :func:`neighbours`.
        width: of a vector, less than there are numbers.
        seed: where the decomposition starts.

    Returns:
        Vectors of length 1, float32, [size, width]; of zeros where a number stands beside no other, and where nothing
        stands beside anything more often than by chance.
    """
    from scipy.sparse import diags
    from scipy.sparse.linalg import svds

    total = together.sum()
    if not total:
        return np.zeros((together.shape[0], width), np.float32)
    of_word = np.asarray(together.sum(1)).ravel() / total
    of_context = np.asarray(together.sum(0)).ravel() ** SMOOTHING
    of_context = of_context / of_context.sum()
    scaled = diags(1 / np.maximum(of_word, 1e-12)) @ (together / total) @ diags(1 / np.maximum(of_context, 1e-12))
    scaled = scaled.tocsr()
    scaled.data = np.maximum(np.log(scaled.data), 0).astype(np.float32)
    scaled.eliminate_zeros()
    if not scaled.nnz:
        return np.zeros((together.shape[0], width), np.float32)
    left, values, _ = svds(scaled, k=width, random_state=seed)
    found = (left * np.sqrt(values)).astype(np.float32)
    # Without neighbours the decomposition leaves what is rounded from nothing.
    found[of_word == 0] = 0
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
