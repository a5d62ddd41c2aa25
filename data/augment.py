"""Augmentation of Tang et al. 2019 (arXiv 1903.12136, section 2.3), over whole blocks of rows at once.

Every unit of a row (a word piece, or a word) is masked with ``p_mask``, or replaced by another of the same part of
speech with ``p_pos``; then, with ``p_ngram``, only one n-gram of the row is kept. Rows are :class:`Ragged` arrays of
unit ids, all functions are pure given their random generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.part_of_speech import TaggedRows
from data.ragged import Ragged

NGRAM_RANGE = {"en": (2, 6), "zh": (2, 10)}


@dataclass(frozen=True)
class Augmentation:
    """How copies are made.

    Attributes:
        n_iter: copies of each row.
        p_mask: probability of masking a unit.
        p_pos: probability of replacing a unit by one of the same part of speech; the units are words then. The
            published Paddle code leaves this out, which is 0.
        p_ngram: probability of keeping a single n-gram of a row.
        ngram_range: smallest and largest n, both included.
        tagger: gives the parts of speech, see :func:`data.part_of_speech.make_tagger`.
        spacy_model: of the tagger ``spacy``.
    """

    n_iter: int = 20
    p_mask: float = 0.1
    p_ngram: float = 0.25
    ngram_range: tuple[int, int] = (2, 6)
    p_pos: float = 0.0
    tagger: str = "auto"
    spacy_model: str | None = None


def change_units(
    rows: Ragged,
    how: Augmentation,
    mask_id: int,
    rng: np.random.Generator,
    tagged: TaggedRows | None = None,
    tags: Ragged | None = None,
) -> Ragged:
    """Masks each unit with ``p_mask`` or replaces it with ``p_pos``: one draw decides between the two and neither.

    Args:
        rows: unit ids.
        how: the probabilities.
        mask_id: the unit that masks.
        rng: of this block.
        tagged: gives the replacements; needed when ``p_pos`` is above 0.
        tags: tag ids of these rows.
    """
    rows = rows.compact()
    drawn = rng.random(len(rows.values), np.float32)
    values = np.where(drawn < how.p_mask, np.asarray(mask_id, rows.values.dtype), rows.values)
    if how.p_pos:
        assert tagged is not None and tags is not None, "p_pos needs the parts of speech"
        replaced = (drawn >= how.p_mask) & (drawn < how.p_mask + how.p_pos)
        values[replaced] = tagged.draw(tags.compact().values[replaced], rng)
    return Ragged(values, rows.offsets)


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


def augment_rows(
    rows: Ragged,
    how: Augmentation,
    mask_id: int,
    rng: np.random.Generator,
    tagged: TaggedRows | None = None,
    tags: Ragged | None = None,
) -> Ragged:
    """One augmented copy of every row; arguments as for :func:`change_units`."""
    changed = change_units(rows, how, mask_id, rng, tagged, tags)
    return sample_ngrams(changed, how.p_ngram, how.ngram_range, rng)


def augment_columns(
    columns: tuple[Ragged, ...],
    copy: int,
    how: Augmentation,
    mask_id: int,
    rng: np.random.Generator,
    tagged: TaggedRows | None = None,
    tags: tuple[Ragged, ...] = (),
) -> tuple[Ragged, ...]:
    """One augmented copy of every row of a task.

    Of sentence pairs the copies change in turn the first text, the second, and both (Tang et al. 2019).
    """
    turn = 2 if len(columns) == 1 else copy % 3
    return tuple(
        augment_rows(column, how, mask_id, rng, tagged, tags[number] if tags else None)
        if turn in (number, 2)
        else column.compact()
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
