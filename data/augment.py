"""Augmentation of Tang et al. 2019 (arXiv 1903.12136, section 2.3), over whole blocks of rows at once.

Every unit of a row (a word piece, or a word) is masked with ``p_mask``; else it may be replaced by another of the
same part of speech; then, with ``p_ngram``, only one n-gram of the row is kept. Rows are :class:`Ragged` arrays of
unit ids, all functions are pure given their random generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.ragged import Ragged

# Takes the rows, which units were masked, and a generator; returns the rows with some of the other units replaced.
Replacement = Callable[[Ragged, np.ndarray, np.random.Generator], Ragged]

NGRAM_RANGE = {"en": (2, 6), "zh": (2, 10)}


@dataclass(frozen=True)
class Augmentation:
    """How copies are made.

    Attributes:
        n_iter: copies of each row.
        p_mask: probability of masking a unit.
        p_ngram: probability of keeping a single n-gram of a row.
        ngram_range: smallest and largest n, both included.
        replace: part-of-speech-guided replacement of the units that were not masked; None leaves it out, as the
            published Paddle code does.
    """

    n_iter: int = 20
    p_mask: float = 0.1
    p_ngram: float = 0.25
    ngram_range: tuple[int, int] = (2, 6)
    replace: Replacement | None = None


def mask_units(rows: Ragged, p_mask: float, mask_id: int, rng: np.random.Generator) -> tuple[Ragged, np.ndarray]:
    """Replaces each unit by ``mask_id`` with probability ``p_mask``.

    Returns:
        The rows, and which units were masked, bool, shape [units].
    """
    rows = rows.compact()
    masked = rng.random(len(rows.values), np.float32) < p_mask
    return Ragged(np.where(masked, np.asarray(mask_id, rows.values.dtype), rows.values), rows.offsets), masked


def sample_ngrams(rows: Ragged, p_ngram: float, ngram_range: tuple[int, int], rng: np.random.Generator) -> Ragged:
    """Keeps, with probability ``p_ngram`` a row, one n-gram of it; n and place are uniform; shorter rows stay."""
    rows = rows.compact()
    count, lengths = len(rows), rows.lengths
    chosen = rng.random(count) < p_ngram
    n = rng.integers(ngram_range[0], ngram_range[1], count, endpoint=True)
    kept = np.where(chosen, np.minimum(n, lengths), lengths)
    start = np.floor(rng.random(count) * (lengths - kept + 1)).astype(np.int64)
    inside = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1] + start, lengths)
    keep = (inside >= 0) & (inside < np.repeat(kept, lengths))
    return Ragged.from_lengths(rows.values[keep], kept)


def augment_rows(rows: Ragged, how: Augmentation, mask_id: int, rng: np.random.Generator) -> Ragged:
    """One augmented copy of every row."""
    masked_rows, masked = mask_units(rows, how.p_mask, mask_id, rng)
    if how.replace is not None:
        masked_rows = how.replace(masked_rows, masked, rng)
    return sample_ngrams(masked_rows, how.p_ngram, how.ngram_range, rng)


def augment_columns(
    columns: tuple[Ragged, ...], copy: int, how: Augmentation, mask_id: int, rng: np.random.Generator
) -> tuple[Ragged, ...]:
    """One augmented copy of every row of a task.

    Of sentence pairs the copies change in turn the first text, the second, and both (Tang et al. 2019).
    """
    if len(columns) == 1:
        return (augment_rows(columns[0], how, mask_id, rng),)
    turn = copy % 3
    return tuple(
        augment_rows(column, how, mask_id, rng) if turn in (number, 2) else column.compact()
        for number, column in enumerate(columns)
    )


def row_hashes(columns: tuple[Ragged, ...]) -> np.ndarray:
    """A 64-bit hash of every row, uint64, shape [rows]: equal rows have equal hashes.

    Two different rows among a million share a hash with a probability of 3e-8; one augmented row would be lost.
    """
    total = np.full(len(columns[0]), 0x9E3779B97F4A7C15, np.uint64)
    for number, column in enumerate(columns):
        column = column.compact()
        position = np.arange(len(column.values)) - np.repeat(column.offsets[:-1], column.lengths)
        mixed = _mix(column.values.astype(np.uint64) + (position.astype(np.uint64) << np.uint64(32)))
        sums = np.zeros(len(column.values) + 1, np.uint64)
        np.cumsum(mixed, out=sums[1:])
        # Sums over a row wrap around modulo 2**64, and so does the difference of two running sums.
        row = sums[column.offsets[1:]] - sums[column.offsets[:-1]]
        total = _mix(total ^ _mix(row + column.lengths.astype(np.uint64) + np.uint64(number)))
    return total


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele et al. 2014): spreads every bit over the word."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
