"""Hidden tokens: whole words, as many as wanted, replaced in the published shares."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.masking import (
    Masking,
    choose_positions,
    hide,
    reference_line,
    starts_from_reference,
    starts_of_words,
    word_starts,
)
from data.ragged import Ragged

ROWS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80)


def words_of(starts, allowed):
    """The words of a row as sets of places: runs of allowed tokens, cut at starts."""
    found = []
    for place, (start, may) in enumerate(zip(starts, allowed, strict=True)):
        if not may:
            continue
        if start or place == 0 or not allowed[place - 1]:
            found.append(set())
        found[-1].add(place)
    return found


@given(ROWS, st.floats(0.01, 1), st.integers(1, 30), st.integers(0, 1000))
def test_words_are_hidden_whole_and_special_tokens_never(row, prob, most, seed):
    starts, allowed = (np.asarray(side, bool) for side in zip(*row, strict=True))
    how = Masking(prob, most)
    hidden = choose_positions(starts, allowed, how, np.random.default_rng(seed)).tolist()
    assert hidden == sorted(set(hidden))
    wanted = how.wanted(int(allowed.sum()))
    assert len(hidden) <= wanted
    words = words_of(starts, allowed)
    chosen = [word for word in words if word & set(hidden)]
    assert set(hidden) == set().union(*chosen) if chosen else not hidden
    # Nothing that would still fit is left out.
    rest = [word for word in words if not word & set(hidden)]
    assert all(len(hidden) + len(word) > wanted for word in rest)


@given(st.integers(1, 200), st.floats(0.01, 1), st.integers(1, 30), st.integers(0, 1000))
def test_single_tokens_give_exactly_the_number(tokens, prob, most, seed):
    how = Masking(prob, most, whole_words=False)
    starts = np.zeros(tokens, bool)
    hidden = choose_positions(starts, np.ones(tokens, bool), how, np.random.default_rng(seed))
    assert len(hidden) == how.wanted(tokens) == min(most, tokens, max(1, round(tokens * prob)))


def test_numbers_wanted_by_hand():
    # 0.15 of 100 is 15; of 512 it is 77, of which 20; of 3 it is 0, of which one all the same.
    assert [Masking().wanted(tokens) for tokens in (100, 512, 3, 0)] == [15, 20, 1, 0]


@given(st.lists(ROWS, min_size=1, max_size=6), st.floats(0.01, 1), st.integers(1, 30), st.integers(0, 1000))
def test_rows_together_are_hidden_like_rows_alone(rows, prob, most, seed):
    starts, allowed = (np.asarray([bool(t[side]) for row in rows for t in row]) for side in (0, 1))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    how = Masking(prob, most)
    hidden = choose_positions(starts, allowed, how, np.random.default_rng(seed), offsets)
    assert hidden.tolist() == sorted(set(hidden.tolist()))
    for begin, end in pairwise(offsets):
        own = set(hidden[(hidden >= begin) & (hidden < end)] - begin)
        words = words_of(starts[begin:end], allowed[begin:end])
        assert own == set().union(*(word for word in words if word & own))
        wanted = how.wanted(int(allowed[begin:end].sum()))
        assert len(own) <= wanted
        assert all(len(own) + len(word) > wanted for word in words if not word & own)


def test_every_word_is_drawn_alike():
    starts, allowed = np.asarray([True, False] * 5), np.ones(10, bool)
    counts = np.zeros(10)
    for seed in range(3000):
        counts[choose_positions(starts, allowed, Masking(0.2), np.random.default_rng(seed))] += 1
    # One of five words of two tokens each: 600 expected, deviation 22.
    assert (np.abs(counts - 600) < 90).all()
    assert (counts[::2] == counts[1::2]).all()


def test_shares_of_masks_random_and_kept_tokens():
    ids, places = np.full(100_000, 7), np.arange(100_000)
    found = hide(ids, places, 4, np.arange(10, 20), np.random.default_rng(0))
    # Deviations of 126, 95 and 95.
    assert abs((found == 4).sum() - 80_000) < 600
    assert abs((found >= 10).sum() - 10_000) < 450
    assert abs((found == 7).sum() - 10_000) < 450
    assert np.abs(np.bincount(found[found >= 10], minlength=20)[10:] - 1000).max() < 200


def test_what_is_not_hidden_stays():
    ids = np.arange(20)
    found = hide(ids, np.asarray([3, 5]), 99, np.asarray([50]), np.random.default_rng(1))
    assert set(np.flatnonzero(found != ids).tolist()) <= {3, 5}
    assert ids.tolist() == list(range(20))


def test_pieces_that_continue_a_word():
    assert word_starts(["un", "##believ", "##able", "film"]).tolist() == [True, False, False, True]


@given(st.lists(st.booleans(), max_size=40))
def test_references_go_both_ways(starts):
    starts = np.asarray(starts, bool)
    np.testing.assert_array_equal(starts_from_reference(reference_line(starts), len(starts)), starts)


def test_references_count_the_first_token_by_hand():
    # [CLS] 这 部 电 影 : of the word 电影 the character 影 continues, at position 4.
    assert reference_line(np.asarray([True, True, True, False])) == [4]


@pytest.mark.parametrize("position", [0, 5, -1])
def test_a_reference_of_another_line_is_refused(position):
    with pytest.raises(ValueError, match=f"position {position} of a line of 4 tokens"):
        starts_from_reference([position], 4)


def test_rows_of_words_begin_where_their_words_do():
    # Words of 2, 1, 0 (white space) and 3 tokens; rows (0 2 1) and (3 0).
    pieces = Ragged.from_rows([[5, 6], [7], [], [8, 9, 10]])
    words = Ragged.from_rows([[0, 2, 1], [3, 0]])
    expected = [True, False, True, True, False, False, True, False]
    assert starts_of_words(words, pieces).tolist() == expected
