"""Masked language modelling: which tokens of a sequence are hidden, and by what (Devlin et al. 2018; whole words: Cui
et al. 2019).

Whole words are hidden, or none of their tokens: a word's first token is marked as its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.ragged import Ragged

# Of the hidden tokens these shares become the mask and a random token; the rest stay as they are.
MASKED, RANDOM = 0.8, 0.1


@dataclass(frozen=True)
class Masking:
    """How much is hidden.

    Attributes:
        prob: share of a row's tokens.
        most: tokens of a row at most.
        whole_words: hide words as a whole; False takes every token for a word.
    """

    prob: float = 0.15
    most: int = 20
    whole_words: bool = True

    def wanted(self, tokens: np.ndarray) -> np.ndarray:
        """How many tokens of rows are to be hidden: one at least where there is one."""
        share = np.rint(np.asarray(tokens) * self.prob).astype(np.int64)
        return np.minimum(np.minimum(self.most, tokens), np.maximum(1, share))


def word_starts(pieces: Sequence[str]) -> np.ndarray:
    """Whether each word piece begins a word: those that continue one begin with ``##``."""
    return np.asarray([not piece.startswith("##") for piece in pieces], bool)


def choose_positions(
    starts: np.ndarray,
    allowed: np.ndarray,
    how: Masking,
    rng: np.random.Generator,
    offsets: np.ndarray | None = None,
) -> np.ndarray:
    """The positions that are hidden, rising; of one row, or of many that stand one after the other.

    In every row words are drawn in random order; one that would go beyond the row's number is passed over for a
    shorter one.

    Args:
        starts: whether a token begins a word, [tokens].
        allowed: whether a token may be hidden: no special token, [tokens].
        how: the share.
        rng: of the rows.
        offsets: where rows begin, and the end, [rows + 1]; a single row when left out.

    Returns:
        int64; in every row of as many tokens as :meth:`Masking.wanted`, or fewer where words do not fit.
    """
    offsets = np.asarray([0, len(starts)]) if offsets is None else offsets
    begins = allowed & (starts if how.whole_words else True)
    # A word's continuation behind a token that may not be hidden, or of another row, is a word of its own.
    before = np.concatenate([[False], allowed])
    before[offsets[:-1]] = False
    begins |= allowed & ~before[:-1]
    places = np.flatnonzero(allowed)
    first = np.flatnonzero(begins[places])
    if not len(first):
        return places[:0]
    lengths = np.diff(np.append(first, len(places)))
    rows = np.searchsorted(offsets, places[first], side="right") - 1
    count = len(offsets) - 1
    words = np.bincount(rows, minlength=count)
    wanted = how.wanted(np.bincount(rows, lengths, count).astype(np.int64))
    # Row after row, in each in random order.
    order = np.argsort(rows + rng.random(len(first)), kind="stable")
    at = np.cumsum(words) - words
    taken, filled = np.zeros(len(first), bool), np.zeros(count, np.int64)
    # All rows at once: the next word of each.
    active = np.flatnonzero(words)
    while len(active):
        word = order[at[active]]
        fits = filled[active] + lengths[word] <= wanted[active]
        taken[word[fits]] = True
        filled[active[fits]] += lengths[word[fits]]
        at[active] += 1
        words[active] -= 1
        active = active[(words[active] > 0) & (filled[active] < wanted[active])]
    return places[np.repeat(taken, lengths)]


def hide(
    ids: np.ndarray, positions: np.ndarray, mask_id: int, vocabulary: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Tokens with hidden ones replaced: 80 % by the mask, 10 % by a random token, 10 % by themselves.

    Args:
        ids: [tokens].
        positions: that are hidden.
        mask_id: the mask.
        vocabulary: ids that a random token is drawn from.
        rng: of the rows.
    """
    drawn = rng.random(len(positions))
    other = vocabulary[rng.integers(0, len(vocabulary), len(positions))]
    found = np.array(ids)
    found[positions] = np.where(drawn < MASKED, mask_id, np.where(drawn < MASKED + RANDOM, other, ids[positions]))
    return found


def reference_line(starts: np.ndarray) -> list[int]:
    """MiniRBT's whole-word reference of a line: positions of tokens that continue a word, [CLS] before them counted.

    Args:
        starts: whether each token of the line begins a word, without special tokens.
    """
    return (np.flatnonzero(~starts) + 1).tolist()


def starts_from_reference(positions: Sequence[int], tokens: int) -> np.ndarray:
    """The way back of :func:`reference_line`.

    Raises:
        ValueError: a position outside the line: the reference belongs to another one.
    """
    wrong = [position for position in positions if not 1 <= position <= tokens]
    if wrong:
        raise ValueError(f"position {wrong[0]} of a line of {tokens} tokens: is this the reference of another file?")
    starts = np.ones(tokens, bool)
    starts[np.asarray(positions, np.int64) - 1] = False
    return starts


def starts_of_words(words: Ragged, pieces: Ragged) -> np.ndarray:
    """Whether each token begins a word, of rows that are given as words.

    Args:
        words: word numbers of every row.
        pieces: the tokens of every word.

    Returns:
        For the tokens of all rows one after the other, bool.
    """
    lengths = pieces.lengths[words.compact().values]
    starts = np.zeros(int(lengths.sum()), bool)
    begins = np.cumsum(lengths) - lengths
    # Words without a token (white space) begin where the next one does.
    starts[begins[lengths > 0]] = True
    return starts
