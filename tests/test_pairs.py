"""New pairs from known texts: none that was there, near ones share a rare word, all is reproducible."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data.pairs import repaired_pairs
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
