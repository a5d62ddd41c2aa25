"""Replaced words: what may be replaced, by what, how often; and who proposes."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from core.masked_lm import MaskedLM
from data.ragged import Ragged
from data.replacement import Candidates, is_replaceable, replaced_copy, word_rows
from data.tokenization import MASK, WordPieceTokenizer
from models.bert import ARCHITECTURES, initial_weights
from models.folder import LoadedModel
from models.weights import set_weights
from tinybert import candidates as room
from tinybert.candidates import candidates_by_word, nearest_words, with_masked_lm, word_vectors_from_pieces

TOKENIZER = WordPieceTokenizer(tiny.VOCAB)


def masked_lm(seed=0, **changes):
    config = tiny.bert_config(**changes)
    model = ARCHITECTURES["BertForMaskedLM"](config)
    set_weights(model, initial_weights(config, np.random.default_rng(seed), "BertForMaskedLM"), "the test")
    model.eval()
    return LoadedModel(model, WordPieceTokenizer(tiny.VOCAB), None, 32)


def test_words_are_those_that_are_cut_into_pieces():
    rows = word_rows([["The film, good!", "GOOD"]], TOKENIZER)
    assert rows.words == ["the", "film", ",", "good", "!"]
    assert rows.columns[0][0].tolist() == [0, 1, 2, 3, 4]
    assert rows.columns[0][1].tolist() == [3]
    assert rows.replaceable().tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("word", ["the", "not", "its", ",", "3d", "1999", "don", "的", ""])
def test_marks_numbers_and_stop_words_stay(word):
    assert not is_replaceable(word)


@given(st.integers(0, 2**32), st.floats(0, 1), st.lists(st.integers(0, 12), min_size=1, max_size=20))
def test_only_words_with_candidates_change_and_only_into_them(seed, p, lengths):
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    column = Ragged.from_lengths(rng.integers(0, 50, total).astype(np.int32), np.asarray(lengths))
    table, counts = rng.integers(50, 90, (7, 4)).astype(np.int32), rng.integers(0, 5, 7)
    slots = rng.integers(-1, 7, total).astype(np.int32)
    made = replaced_copy(column, slots, Candidates(table, counts, (slots,)), p, np.random.default_rng(seed))
    assert made.lengths.tolist() == lengths
    for old, new, slot in zip(column.values, made.values, slots, strict=True):
        allowed = {old} if slot < 0 else {old, *table[slot, : counts[slot]].tolist()}
        assert new in allowed
    if p == 0:
        assert np.array_equal(made.values, column.values)
    if p == 1:
        changed = (slots >= 0) & (counts[np.maximum(slots, 0)] > 0)
        assert (made.values[changed] >= 50).all()


def test_a_share_p_is_replaced_and_candidates_come_evenly():
    column = Ragged.from_lengths(np.zeros(40_000, np.int32), np.asarray([40_000]))
    slots = np.zeros(40_000, np.int32)
    candidates = Candidates(np.asarray([[1, 2, 3, 9]], np.int32), np.asarray([3]), (slots,))
    counts = np.bincount(replaced_copy(column, slots, candidates, 0.4, np.random.default_rng(0)).values, minlength=10)
    # 16,000 expected, deviation 98; a third of them each, deviation 68.
    assert abs(counts[0] - 24_000) < 400
    assert (np.abs(counts[1:4] - 16_000 / 3) < 300).all()
    assert counts[4:].sum() == 0


def test_nearest_words_by_cosine_without_the_word_itself():
    vectors = {"a": np.array([1.0, 0]), "b": np.array([2.0, 0.1]), "c": np.array([0, 3.0]), "d": np.array([-1.0, 0])}
    found = nearest_words(vectors, ["a", "x"], ["a", "b", "c", "d", "y"], 2)
    assert found == {"a": ["b", "c"]}
    assert nearest_words(vectors, ["c"], ["a", "b"], 5) == {"c": ["b", "a"]}


def test_vectors_of_words_are_means_over_their_pieces():
    rows = word_rows([["good goodly"]], TOKENIZER)
    table = np.random.default_rng(0).normal(size=(len(tiny.VOCAB), 4))
    found = word_vectors_from_pieces(rows.words, rows.pieces, table)
    np.testing.assert_allclose(found["goodly"], table[rows.pieces[1]].mean(0))
    assert len(rows.pieces[1]) > 1


def test_candidates_of_a_word_are_the_same_wherever_it_stands():
    rows = word_rows([["good film", "the good"]], TOKENIZER)
    words, made = candidates_by_word(rows, {"good": ["great", "fine"], "the": ["a"]}, 3)
    slots = made.slots[0].tolist()  # good film the good
    assert slots[0] == slots[3] >= 0
    assert slots[1:3] == [-1, -1]
    assert [words[i] for i in made.table[slots[0], : made.counts[slots[0]]]] == ["great", "fine"]


def by_hand(model, words, place, count):
    """The best pieces for one word as the published loop asks: one masked sentence, the original behind it."""
    vocab = model.tokenizer.vocab
    pieces = [model.tokenizer.encode([word])[0].tolist() for word in words]
    flat = [piece for word in pieces for piece in word]
    at = 1 + sum(len(word) for word in pieces[:place])
    cls, sep, mask = (vocab.index(token) for token in ("[CLS]", "[SEP]", MASK))
    ids = [cls, *flat, sep, *flat, sep]
    ids[at] = mask
    types = [0] * (len(flat) + 2) + [1] * (len(flat) + 1)
    logits = model.model(paddle.to_tensor([ids]), paddle.to_tensor([types])).numpy()[0, at]
    return [vocab[i] for i in np.argsort(-logits, kind="stable")[:count] if vocab[i].isalpha()]


def test_a_masked_lm_proposes_what_it_does_one_word_at_a_time(tmp_path):
    model = masked_lm()
    texts = ["the film was good", "a very dull story and a goodly cast", "great"]
    rows = word_rows([texts], model.tokenizer)
    words, known = candidates_by_word(rows, {"goodly": ["fine"]}, 6)
    units, made = with_masked_lm(rows, words, known, model, 6, tmp_path, tmp_path / "parts")
    column = rows.columns[0]
    checked = 0
    for row in range(3):
        row_words = [rows.words[i] for i in column[row]]
        for place, word in enumerate(row_words):
            slot = made.slots[0][column.offsets[row] + place]
            found = [units[i] for i in made.table[slot, : made.counts[slot]]] if slot >= 0 else []
            if word == "goodly":
                assert found == ["fine"]
            elif not is_replaceable(word):
                assert slot == -1
            else:
                assert found == by_hand(model, row_words, place, 6)
                checked += 1
    assert checked >= 6


def test_an_interrupted_pass_of_the_masked_lm_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "PART_TOKENS", 40)
    model = masked_lm()
    rows = word_rows([[tiny.sentence(__import__("random").Random(i), i % 2) for i in range(12)]], model.tokenizer)
    start = candidates_by_word(rows, {}, 4)
    whole = with_masked_lm(rows, *start, model, 4, tmp_path, tmp_path / "whole")

    asked = []
    logits = MaskedLM.logits

    def failing(self, *given):
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return logits(self, *given)

    monkeypatch.setattr(MaskedLM, "logits", failing)
    with pytest.raises(KeyboardInterrupt):
        with_masked_lm(rows, *start, model, 4, tmp_path, tmp_path / "parts")
    done = len(list((tmp_path / "parts" / "column-0").glob("part-*")))
    assert done == 2
    # A part that was damaged meanwhile is computed again.
    next((tmp_path / "parts" / "column-0" / "part-00000").glob("ids*")).write_bytes(b"x")
    again = with_masked_lm(rows, *start, model, 4, tmp_path, tmp_path / "parts")
    assert again[0] == whole[0]
    np.testing.assert_array_equal(again[1].table, whole[1].table)
    np.testing.assert_array_equal(again[1].slots[0], whole[1].slots[0])


def test_words_behind_the_model_length_stay(tmp_path):
    # 16 positions: [CLS] 7 pieces [SEP] 6 pieces [SEP] at most.
    model = masked_lm(max_position_embeddings=16)
    rows = word_rows([["good " * 12]], model.tokenizer)
    _, made = with_masked_lm(rows, *candidates_by_word(rows, {}, 50), model, 50, tmp_path, tmp_path / "parts")
    counts = made.counts[made.slots[0]]
    assert (counts[:7] > 0).all()
    assert (counts[7:] == 0).all()
