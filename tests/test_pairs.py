"""New pairs from known texts: none that was there, near ones share a rare word, all is reproducible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import data.nearest
from data.nearest import nearest_texts
from data.pairs import NEAREST, RARE_WORD, REPAIRS, repaired_pairs
from data.sources import Rows

TEXTS = [f"how to {verb} {noun}" for verb in ("swim", "cook", "paint") for noun in ("well", "fast", "alone", "today")]
ROWS = Rows((TEXTS[:6], TEXTS[6:]), None)


def test_no_pair_is_known_or_comes_twice_and_no_text_meets_itself():
    made = repaired_pairs(ROWS, 6, seed=1)
    pairs = [frozenset(pair) for pair in zip(*made.texts, strict=True)]
    assert len(pairs) == len(set(pairs)) > 20
    assert all(len(pair) == 2 for pair in pairs)
    assert set(pairs).isdisjoint(frozenset(pair) for pair in zip(*ROWS.texts, strict=True))
    assert {text for column in made.texts for text in column} <= set(TEXTS)
    assert made.labels is None


def test_the_first_copies_share_one_of_the_rarest_words():
    # The rarest words stand in 3 or 4 texts: the verb and the noun; "how" and "to" come after them.
    rows = Rows((["how to swim well", "how to cook fast"], ["how to cook alone", "how to swim alone"]), None)
    made = repaired_pairs(rows, 1, seed=2)
    assert len(made) > 0
    for a, b in zip(*made.texts, strict=True):
        assert set(a.split()) & set(b.split())
    words = {"a": ["x"], "b": ["x"], "c": ["y"], "d": ["y"]}
    apart = repaired_pairs(Rows((["a", "b"], ["c", "d"]), None), 1, seed=0, words=words.__getitem__)
    assert {frozenset(pair) for pair in zip(*apart.texts, strict=True)} == {frozenset("ab"), frozenset("cd")}


def test_texts_without_a_common_word_meet_at_random():
    made = repaired_pairs(Rows((["a", "b"], ["c", "d"]), None), 8, seed=0)
    assert {frozenset(pair) for pair in zip(*made.texts, strict=True)} == {
        frozenset(pair) for pair in ("ab", "ad", "bc", "cd")
    }


def test_both_orders_occur():
    made = repaired_pairs(ROWS, 4, seed=3)
    assert len({TEXTS.index(a) < TEXTS.index(b) for a, b in zip(*made.texts, strict=True)}) == 2


@given(st.integers(0, 50))
def test_the_seed_decides(seed):
    assert repaired_pairs(ROWS, 2, seed) == repaired_pairs(ROWS, 2, seed)


def test_likeness_by_hand():
    bags = [{"learn", "python", "fast"}, {"learn", "python"}, {"learn", "rust"}, {"bread"}, {"python", "snake", "zoo"}]
    # Of five texts "learn" and "python" are in three each and count log(5/3), the others log(5).
    common, rare = np.log(5 / 3), np.log(5)
    to_first = {
        1: 2 * common**2 / np.sqrt(2 * common**2 + rare**2) / np.sqrt(2 * common**2),
        2: common**2 / np.sqrt(2 * common**2 + rare**2) / np.sqrt(common**2 + rare**2),
        4: common**2 / np.sqrt(2 * common**2 + rare**2) / np.sqrt(common**2 + 2 * rare**2),
    }
    found = [others.tolist() for others in nearest_texts(bags)]
    assert found[0] == sorted(to_first, key=to_first.__getitem__, reverse=True) == [1, 2, 4]
    assert found[3] == []
    assert list(nearest_texts([])) == []


def test_words_of_too_many_texts_do_not_count(monkeypatch):
    monkeypatch.setattr(data.nearest, "COMMON", 2)
    bags = [{"a", "b"}, {"a"}, {"a", "b"}]
    assert [others.tolist() for others in nearest_texts(bags)] == [[2], [], [0]]
    # Of very many texts a word may stand in more.
    monkeypatch.setattr(data.nearest, "COMMON_SHARE", 0.75)
    assert [others.tolist() for others in nearest_texts([*bags, {"c"}])] == [[2, 1], [0, 2], [0, 1], []]


@pytest.mark.parametrize("block", [1, 2, 1000])
def test_blocks_do_not_matter(monkeypatch, block):
    bags = [set(text.split()) for text in TEXTS]
    whole = [others.tolist() for others in nearest_texts(bags)]
    monkeypatch.setattr(data.nearest, "BLOCK", block)
    assert [others.tolist() for others in nearest_texts(bags)] == whole


def test_the_nearest_that_are_free_become_partners():
    near = ["learn python", "learn python fast", "learn python today", "bake bread", "bake rye bread"]
    rows = Rows(([near[0], near[3]], [near[1], "sing"]), None)
    rows = Rows(([*rows.texts[0], near[2]], [*rows.texts[1], near[4]]), None)
    made = repaired_pairs(rows, 1, seed=0, repair_with=NEAREST)
    pairs = {frozenset(pair) for pair in zip(*made.texts, strict=True)}
    # The first two are a pair already, so that each meets the third; nobody shares a word with "sing".
    assert pairs == {frozenset((near[0], near[2])), frozenset((near[1], near[2])), frozenset((near[3], near[4]))}


@pytest.mark.parametrize("repair_with", REPAIRS)
def test_pairs_that_judge_are_not_made(repair_with):
    made = repaired_pairs(ROWS, 4, seed=1, repair_with=repair_with)
    known = list(zip(*made.texts, strict=True))
    (first, second), other = known[0], known[1]
    judging = [Rows((["how to sing", second], [second, first]), None), Rows(([other[0]], [other[1]]), None)]
    again = repaired_pairs(ROWS, 4, seed=1, repair_with=repair_with, judging=judging)
    pairs = {frozenset(pair) for pair in zip(*again.texts, strict=True)}
    assert pairs.isdisjoint({frozenset(known[0]), frozenset(other)})
    if repair_with == RARE_WORD:
        # The others stay as they were.
        assert list(zip(*again.texts, strict=True)) == known[2:]


@given(st.integers(0, 20), st.integers(1, 8))
def test_nearest_pairs_are_new_and_few_enough(seed, copies):
    made = repaired_pairs(ROWS, copies, seed, repair_with=NEAREST)
    pairs = [frozenset(pair) for pair in zip(*made.texts, strict=True)]
    assert 0 < len(pairs) == len(set(pairs)) <= copies * len(TEXTS)
    assert all(len(pair) == 2 for pair in pairs)
    assert set(pairs).isdisjoint(frozenset(pair) for pair in zip(*ROWS.texts, strict=True))
