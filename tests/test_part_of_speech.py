"""Replacement by part of speech: only within a tag, by frequency, never of masks; taggers, and life without them."""

from __future__ import annotations

import builtins
import sys
from collections import Counter

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from console import InputError
from data.augment import Augmentation, augment_columns, change_units
from data.part_of_speech import make_tagger, tag_rows
from data.ragged import Ragged
from data.sources import Rows
from data.streams import generator
from data.tokenization import MASK, JiebaTokenizer, WordPieceTokenizer
from data.transfer import build_transfer_set, transfer_key

UNITS = [MASK, "film", "story", "good", "bad", "dull", "is"]
TAGS = {"film": "N", "story": "N", "good": "J", "bad": "J", "dull": "J", "is": "V", MASK: "N"}


def by_table(rows):
    for words in rows:
        yield [TAGS[word] for word in words]


def tagged_rows(*rows):
    column = Ragged.from_rows(rows)
    return column, tag_rows((column,), UNITS, by_table)


def test_units_are_replaced_within_their_tag_by_their_frequency():
    # "film" stands three times, "story" once: they are drawn 3 to 1.
    _, tagged = tagged_rows([1, 6, 3], [1, 6, 4], [1, 6, 4], [2, 6, 4])
    rows = Ragged.from_rows([[2, 6, 5]] * 4000)
    tags = Ragged.from_rows([tagged.tags[0][0]] * 4000)
    how = Augmentation(p_mask=0.0, p_pos=1.0, p_ngram=0.0)
    after = change_units(rows, how, 0, generator(1, "test"), tagged, tags).values.reshape(-1, 3)
    nouns, verbs, adjectives = (Counter(after[:, place].tolist()) for place in range(3))
    assert set(nouns) == {1, 2} and set(verbs) == {6} and set(adjectives) == {3, 4}
    # Five standard deviations of a binomial share.
    assert nouns[1] / 4000 == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 4000) ** 0.5)
    assert adjectives[4] / 4000 == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 4000) ** 0.5)


def test_one_draw_decides_between_masking_replacing_and_neither():
    # The noun is always "film" and the only other noun is "story": a replacement shows half of the time.
    _, tagged = tagged_rows([1], [2])
    rows, tags = Ragged.from_rows([[1]] * 20000), Ragged.from_rows([tagged.tags[0][0]] * 20000)
    how = Augmentation(p_mask=0.2, p_pos=0.3, p_ngram=0.0)
    after = change_units(rows, how, 0, generator(1, "test"), tagged, tags).values
    bound = 5 * (0.25 / 20000) ** 0.5
    assert (after == 0).mean() == pytest.approx(0.2, abs=bound)
    assert (after == 2).mean() == pytest.approx(0.3 / 2, abs=bound)


def test_masks_of_the_rows_stand_for_masks_only():
    _, tagged = tagged_rows([0, 1], [2, 0])
    how = Augmentation(p_mask=0.0, p_pos=1.0, p_ngram=0.0)
    rows, tags = Ragged.from_rows([[0, 1]] * 200), Ragged.from_rows([tagged.tags[0][0]] * 200)
    after = change_units(rows, how, 0, generator(1, "test"), tagged, tags).values.reshape(-1, 2)
    assert set(after[:, 0].tolist()) == {0} and set(after[:, 1].tolist()) == {1, 2}


@given(st.lists(st.lists(st.integers(1, 6), max_size=5), min_size=1, max_size=8), st.integers(0, 5))
def test_tags_never_change_and_no_unit_is_lost(rows, seed):
    column, tagged = tagged_rows(*rows)
    how = Augmentation(p_mask=0.0, p_pos=0.7, p_ngram=0.0)
    (after,) = augment_columns((column,), 0, how, 0, generator(seed, "test"), tagged, tagged.slice(0, len(rows)))
    assert np.array_equal(after.offsets, column.offsets)
    before_tags = [TAGS[UNITS[unit]] for unit in column.values]
    assert [TAGS[UNITS[unit]] for unit in after.values] == before_tags


def test_of_a_pair_each_side_keeps_its_own_tags():
    first, second = Ragged.from_rows([[1, 6]]), Ragged.from_rows([[6, 3, 4]])
    tagged = tag_rows((first, second), UNITS, by_table)
    assert [column.lengths.tolist() for column in tagged.tags] == [[2], [3]]
    how = Augmentation(p_mask=0.0, p_pos=1.0, p_ngram=0.0)
    a, b = augment_columns((first, second), 1, how, 0, generator(1, "test"), tagged, tagged.slice(0, 1))
    assert a.values.tolist() == [1, 6]
    assert b.values[0] == 6 and set(b.values[1:].tolist()) <= {3, 4}


def test_english_tags_depend_on_the_sentence_and_come_without_a_download():
    tagger = make_tagger("auto", "en")
    rows = [["the", "film", "is", "good"], ["a/b", "it's", "dull", "."], []]
    found = list(tagger(rows))
    assert [len(tags) for tags in found] == [4, 4, 0]
    assert found[0] == ["DT", "NN", "VBZ", "JJ"]
    assert not [name for name in sys.modules if name.startswith("nltk_data")]


def test_chinese_tags_are_those_of_jieba():
    from jieba import posseg

    words = JiebaTokenizer(["[PAD]", "[UNK]", "[MASK]"]).words("这家酒店的房间非常干净，服务也很好")
    (tags,) = make_tagger("auto", "zh")([words])
    assert tags == [pair.flag for pair in posseg.lcut("这家酒店的房间非常干净，服务也很好")]


@pytest.mark.parametrize(("name", "language"), [("jieba", "en"), ("textblob", "zh")])
def test_a_tagger_of_another_language_is_refused(name, language):
    with pytest.raises(InputError, match=f"--pos_tagger {name}: it reads"):
        make_tagger(name, language)


@pytest.mark.parametrize(("name", "module"), [("textblob", "textblob"), ("spacy", "spacy")])
def test_a_tagger_that_is_not_installed_is_one_clear_line(monkeypatch, name, module):
    real = builtins.__import__

    def refuse(wanted, *rest, **more):
        if wanted.split(".")[0] == module:
            raise ImportError(f"no {wanted} here")
        return real(wanted, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=rf"--pos_tagger {name}.*no {module}") as caught:
        make_tagger(name, "en")
    assert "\n" not in str(caught.value)


def test_a_transfer_set_with_replacement_is_reproducible_and_of_words(tmp_path):
    texts = ["the film is good", "the story is dull", "a cast was superb", "the music was poor"] * 3
    rows, tokenizer = Rows((texts,), np.zeros(12, np.int64)), WordPieceTokenizer(tiny.VOCAB)
    how = Augmentation(n_iter=5, p_mask=0.0, p_pos=0.5, p_ngram=0.0)
    first = build_transfer_set(rows, tokenizer, how, 3, tmp_path / "a", whole_words=False)
    second = build_transfer_set(rows, tokenizer, how, 3, tmp_path / "b", whole_words=False)
    assert first.unit == "word" and len(first) > 12
    assert list(first.texts(0, len(first))) == list(second.texts(0, len(second)))
    words = {word for text in texts for word in text.split()}
    assert {word for (text,) in first.texts(0, len(first)) for word in text.split()} <= words
    keys = {
        transfer_key(rows, tokenizer, Augmentation(**changes), 3, False)
        for changes in ({}, {"p_pos": 0.1}, {"p_pos": 0.1, "tagger": "spacy"}, {"tagger": "spacy"})
    }
    assert len(keys) == 3  # The tagger counts only where it is used.
