"""Augmentation and transfer sets: rates, places and turns of the changes; what is kept, dropped and read again."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import InputError
from data import transfer
from data.augment import (
    NGRAM_RANGE,
    Augmentation,
    augment_columns,
    augment_rows,
    change_units,
    row_hashes,
    sample_ngrams,
)
from data.ragged import Ragged
from data.sources import NO_LABEL, Rows
from data.store import StoreWriter
from data.streams import generator
from data.tasks import custom_task
from data.tokenization import MASK, PAD, UNK, JiebaTokenizer, WordPieceTokenizer
from data.transfer import (
    TransferSet,
    build_transfer_set,
    in_memory,
    load_transfer_set,
    transfer_key,
    transfer_set_from_path,
)

MASK_ID = -7
PLAIN = Augmentation(n_iter=3, p_mask=0.0, p_ngram=0.0)
TASK = custom_task(["text"], "label").with_labels(["bad", "good"])
PAIR = custom_task(["a", "b"], "label").with_labels(["no", "yes"])

small_rows = st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=8)


def as_lists(rows: Ragged) -> list[list[int]]:
    return [rows[number].tolist() for number in range(len(rows))]


def counting_rows(count: int, lengths: tuple[int, int], seed: int = 0) -> Ragged:
    """Rows of successive numbers, so that a part of a row tells where it was."""
    sizes = np.random.default_rng(seed).integers(*lengths, count, endpoint=True)
    return Ragged.from_rows([range(100, 100 + size) for size in sizes])


def masking(rate: float) -> Augmentation:
    return Augmentation(p_mask=rate, p_ngram=0.0)


class TestMasking:
    @pytest.mark.parametrize("rate", [0.1, 0.5])
    def test_the_share_of_masked_units_is_the_probability(self, rate):
        rows = change_units(counting_rows(2000, (10, 40)), masking(rate), MASK_ID, generator(1, "test"))
        masked = rows.values == MASK_ID
        # Five standard deviations of a binomial share.
        bound = 5 * np.sqrt(rate * (1 - rate) / len(masked))
        assert abs(masked.mean() - rate) < bound

    def test_other_units_stay_where_they_are(self):
        before = counting_rows(200, (0, 20))
        after = change_units(before, masking(0.3), MASK_ID, generator(2, "test"))
        assert np.array_equal(after.offsets, before.offsets)
        stay = after.values != MASK_ID
        assert np.array_equal(after.values[stay], before.values[stay])

    @pytest.mark.parametrize(("rate", "share"), [(0.0, 0.0), (1.0, 1.0)])
    def test_the_ends_of_the_range(self, rate, share):
        after = change_units(counting_rows(50, (5, 9)), masking(rate), MASK_ID, generator(1, "test"))
        assert (after.values == MASK_ID).mean() == share

    def test_the_rows_given_are_not_changed(self):
        rows = counting_rows(20, (5, 9))
        before = rows.values.copy()
        change_units(rows, masking(0.9), MASK_ID, generator(1, "test"))
        assert np.array_equal(rows.values, before)


class TestNgrams:
    def test_the_share_of_cut_rows_is_the_probability(self):
        before = counting_rows(4000, (20, 30))
        after = sample_ngrams(before, 0.25, (2, 6), generator(1, "test"))
        assert abs((after.lengths != before.lengths).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)

    def test_what_is_kept_is_a_run_of_the_row_of_a_length_in_the_range(self):
        before = counting_rows(3000, (0, 15), seed=3)
        after = sample_ngrams(before, 1.0, (2, 6), generator(1, "test"))
        for row, kept in zip(as_lists(before), as_lists(after), strict=True):
            if len(row) <= 2:
                assert kept == row
            else:
                assert min(2, len(row)) <= len(kept) <= min(6, len(row))
                assert kept == list(range(kept[0], kept[0] + len(kept)))
                assert (row[0] <= kept[0], kept[-1] <= row[-1]) == (True, True)

    def test_every_length_and_every_place_is_as_likely(self):
        after = sample_ngrams(Ragged.from_rows([range(8)] * 30_000), 1.0, (2, 6), generator(1, "test"))
        lengths = np.bincount(after.lengths, minlength=7)[2:]
        assert np.abs(lengths / 30_000 - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 30_000)
        starts = np.bincount([row[0] for row in as_lists(after) if len(row) == 2], minlength=7)
        assert np.abs(starts / starts.sum() - 1 / 7).max() < 5 * np.sqrt(1 / 7 * 6 / 7 / starts.sum())

    def test_one_n_only(self):
        after = sample_ngrams(counting_rows(50, (5, 9)), 1.0, (3, 3), generator(1, "test"))
        assert set(after.lengths.tolist()) == {3}

    def test_short_rows_stay(self):
        rows = Ragged.from_rows([[], [1], [1, 2]])
        assert as_lists(sample_ngrams(rows, 1.0, (2, 6), generator(1, "test"))) == [[], [1], [1, 2]]

    @given(small_rows, st.integers(0, 9))
    def test_probability_0_changes_nothing(self, rows, seed):
        packed = Ragged.from_rows(rows)
        how = Augmentation(p_mask=0.0, p_ngram=0.0)
        assert as_lists(augment_rows(packed, how, MASK_ID, generator(seed, "test"))) == rows

    def test_published_ranges(self):
        assert NGRAM_RANGE == {"en": (2, 6), "zh": (2, 10)}


class TestCopies:
    HOW = Augmentation(p_mask=1.0, p_ngram=0.0)

    @pytest.mark.parametrize(
        ("copy", "changed"), [(0, (True, False)), (1, (False, True)), (2, (True, True)), (3, (True, False))]
    )
    def test_copies_of_a_pair_change_the_first_text_the_second_and_both(self, copy, changed):
        pair = (Ragged.from_rows([[1, 2], [3]]), Ragged.from_rows([[4], [5, 6]]))
        after = augment_columns(pair, copy, self.HOW, MASK_ID, generator(1, "test"))
        for before, column, is_changed in zip(pair, after, changed, strict=True):
            assert (set(column.values.tolist()) == {MASK_ID}) is is_changed
            assert is_changed or as_lists(column) == as_lists(before)

    @pytest.mark.parametrize("copy", [0, 1, 2])
    def test_a_single_text_changes_in_every_copy(self, copy):
        (after,) = augment_columns((Ragged.from_rows([[1, 2]]),), copy, self.HOW, MASK_ID, generator(1, "test"))
        assert as_lists(after) == [[MASK_ID, MASK_ID]]


class TestHashes:
    @given(small_rows, small_rows)
    def test_rows_have_equal_hashes_when_they_are_equal_and_only_then(self, first, second):
        rows = [*first, *second]
        hashes = row_hashes((Ragged.from_rows(rows),)).tolist()
        for i, row in enumerate(rows):
            assert [hashes[i] == other for other in hashes] == [row == other for other in rows]

    @given(st.lists(st.tuples(*[st.lists(st.integers(0, 2), max_size=3)] * 2), max_size=8))
    def test_pairs_have_equal_hashes_when_both_texts_are_equal(self, pairs):
        columns = tuple(Ragged.from_rows([pair[side] for pair in pairs]) for side in (0, 1))
        hashes = row_hashes(columns).tolist()
        for i, pair in enumerate(pairs):
            assert [hashes[i] == other for other in hashes] == [pair == other for other in pairs]

    def test_a_view_has_the_hashes_of_its_rows(self):
        rows = Ragged.from_rows([[1], [2, 3], [4]])
        assert row_hashes((rows.slice(1, 3),)).tolist() == row_hashes((rows,)).tolist()[1:]

    def test_a_million_similar_rows_have_different_hashes(self):
        values = np.arange(1_000_000, dtype=np.int32)
        rows = Ragged(np.stack([values % 1000, values // 1000], 1).reshape(-1), np.arange(0, 2_000_001, 2))
        assert len(np.unique(row_hashes((rows,)))) == 1_000_000


@pytest.fixture(scope="module")
def pieces(tiny_vocab) -> WordPieceTokenizer:
    return WordPieceTokenizer(tiny_vocab)


@pytest.fixture(scope="module")
def jieba_words() -> JiebaTokenizer:
    return JiebaTokenizer([PAD, UNK, MASK, "酒店", "服务", "很", "好", "不错"])


def rows_of(*texts: str) -> Rows:
    return Rows((list(texts),), np.arange(len(texts)) % 2)


ENGLISH = rows_of("the film is good", "the film is bad", "not good", "very filming", "a", "a b c d e f g h i j")
QUESTIONS = Rows((["is a good", "the b"], ["not a bad", "very b c"]), np.asarray([1, 0]))
CHINESE = rows_of("酒店服务很好", "酒店不错", "服务不错很好", "很好")
HOW = Augmentation(n_iter=6, p_mask=0.3, p_ngram=0.3, ngram_range=(2, 3))


def texts_of(built: transfer.TransferSet) -> list[tuple[str, ...]]:
    return list(built.texts(0, len(built)))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


class TestBuilding:
    @pytest.mark.parametrize("whole_words", [True, False])
    def test_the_originals_come_first_with_their_labels(self, tmp_path, pieces, whole_words):
        built = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", whole_words)
        assert texts_of(built)[: len(ENGLISH)] == [(text,) for text in ENGLISH.texts[0]]
        assert built.labels[: len(ENGLISH)].tolist() == ENGLISH.labels.tolist()
        assert set(built.labels[len(ENGLISH) :].tolist()) == {NO_LABEL}
        assert built.unit == ("word" if whole_words else "piece")

    def test_originals_that_stand_there_twice_are_kept_twice(self, tmp_path, pieces):
        rows = rows_of("good film", "bad", "good film", "good film")
        built = build_transfer_set(rows, pieces, PLAIN, 1, tmp_path / "t", False)
        assert texts_of(built) == [("good film",), ("bad",), ("good film",), ("good film",)]
        assert built.labels.tolist() == [0, 1, 0, 1]

    @pytest.mark.parametrize("whole_words", [True, False])
    def test_augmented_rows_are_new(self, tmp_path, pieces, whole_words):
        built = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", whole_words)
        added = texts_of(built)[len(ENGLISH) :]
        assert len(added) > len(ENGLISH)
        assert len(set(added)) == len(added)
        assert not {text for (text,) in added} & set(ENGLISH.texts[0])

    def test_augmented_rows_are_masked_runs_of_an_original(self, tmp_path, pieces):
        built = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", True)
        originals = [text.split() for text in ENGLISH.texts[0]]

        def comes_from(words: list[str], original: list[str]) -> bool:
            starts = range(len(original) - len(words) + 1)
            return any(all(a in (b, MASK) for a, b in zip(words, original[start:], strict=False)) for start in starts)

        for (text,) in texts_of(built):
            assert any(comes_from(text.split(), original) for original in originals), text

    def test_without_copies_there_are_the_originals(self, tmp_path, pieces):
        built = build_transfer_set(ENGLISH, pieces, Augmentation(n_iter=0), 1, tmp_path / "t", False)
        assert len(built) == len(ENGLISH)

    def test_the_same_seed_gives_the_same_bytes(self, tmp_path, pieces):
        for name in ("first", "second"):
            build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / name, False)
        assert digests(tmp_path / "first") == digests(tmp_path / "second")

    def test_another_seed_gives_other_rows(self, tmp_path, pieces):
        first, second = (build_transfer_set(ENGLISH, pieces, HOW, seed, tmp_path / f"{seed}", False) for seed in (1, 2))
        assert set(texts_of(first)) != set(texts_of(second))
        assert first.identity != second.identity

    def test_rows_of_several_blocks(self, tmp_path, pieces, monkeypatch):
        monkeypatch.setattr(transfer, "BLOCK", 2)
        built = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", False)
        added = texts_of(built)[len(ENGLISH) :]
        assert texts_of(built)[: len(ENGLISH)] == [(text,) for text in ENGLISH.texts[0]]
        assert len(set(added)) == len(added)

    def test_whole_words_are_masked_as_a_whole(self, tmp_path, pieces):
        how = Augmentation(n_iter=30, p_mask=0.5, p_ngram=0.0)
        rows = rows_of("filming badly", "goodly x")
        words = {
            w for (t,) in texts_of(build_transfer_set(rows, pieces, how, 1, tmp_path / "w", True)) for w in t.split()
        }
        assert words == {"filming", "badly", "goodly", "x", MASK}
        parts = build_transfer_set(rows, pieces, how, 1, tmp_path / "p", False)
        assert any(f"film {MASK}" in text for (text,) in texts_of(parts))

    def test_pairs(self, tmp_path, pieces):
        built = build_transfer_set(QUESTIONS, pieces, HOW, 1, tmp_path / "t", False)
        first, second = (set(column) for column in QUESTIONS.texts)
        assert texts_of(built)[:2] == list(zip(*QUESTIONS.texts, strict=True))
        added = texts_of(built)[2:]
        assert len(set(added)) == len(added)
        assert any(a in first and b not in second for a, b in added)
        assert any(a not in first and b in second for a, b in added)
        assert any(a not in first and b not in second for a, b in added)

    def test_chinese_rows_are_words(self, tmp_path, jieba_words):
        built = build_transfer_set(CHINESE, jieba_words, HOW, 1, tmp_path / "t", False)
        assert built.unit == "word"
        assert texts_of(built)[0] == ("酒店 服务 很 好",)
        assert set(built.units) == {MASK, "酒店", "服务", "很", "好", "不错"}
        assert len(built) > len(CHINESE)

    def test_rows_without_labels(self, tmp_path, pieces):
        built = build_transfer_set(Rows((["good"],), None), pieces, PLAIN, 1, tmp_path / "t", False)
        assert built.labels.tolist() == [NO_LABEL]


class TestEncoding:
    @pytest.mark.parametrize("whole_words", [True, False])
    def test_rows_are_encoded_as_their_texts(self, tmp_path, pieces, whole_words):
        built = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", whole_words)
        (encoded,) = built.encode(pieces)
        # An n-gram may begin within a word: its pieces stay as they are where they are not spelt anew.
        for number, (text,) in enumerate(texts_of(built)):
            if whole_words or number < len(ENGLISH):
                assert encoded[number].tolist() == pieces.encode([text])[0].tolist()

    def test_pieces_of_another_vocabulary_are_spelt_anew(self, tmp_path, pieces, tiny_vocab):
        built = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", False)
        other = WordPieceTokenizer([*tiny_vocab, "filming"])
        (encoded,) = built.encode(other)
        texts = [text for (text,) in texts_of(built)]
        assert as_lists(encoded) == as_lists(other.encode(texts))

    def test_pairs_are_encoded_side_by_side(self, tmp_path, pieces):
        built = build_transfer_set(QUESTIONS, pieces, HOW, 1, tmp_path / "t", True)
        for side, encoded in enumerate(built.encode(pieces)):
            assert as_lists(encoded) == as_lists(pieces.encode([row[side] for row in texts_of(built)]))

    def test_teacher_and_student_read_the_same_chinese_words(self, tmp_path, pieces, jieba_words):
        built = build_transfer_set(CHINESE, jieba_words, HOW, 1, tmp_path / "t", True)
        texts = [text for (text,) in texts_of(built)]
        assert as_lists(built.encode(pieces)[0]) == as_lists(pieces.encode(texts))
        assert as_lists(built.encode(jieba_words)[0]) == [
            [i for word in text.split() for i in jieba_words.word_ids(word)] for text in texts
        ]

    @pytest.mark.parametrize("rows", [ENGLISH, CHINESE, QUESTIONS])
    def test_whole_texts_lose_nothing(self, pieces, jieba_words, rows):
        texts = in_memory(rows, None)
        assert texts_of(texts) == list(zip(*rows.texts, strict=True))
        for tokenizer in (pieces, jieba_words):
            for encoded, column in zip(texts.encode(tokenizer), rows.texts, strict=True):
                assert as_lists(encoded) == as_lists(tokenizer.encode(column))

    @pytest.mark.parametrize("unit", ["piece", "bert_word"])
    def test_words_are_found_among_chinese_characters(self, jieba_words, unit):
        rows = Ragged.from_rows([[0, 1, 2, 3, 4, 5, 6]])
        characters = TransferSet([*"酒店服务很好", "!"], unit, (rows,), np.asarray([0]), "x")
        assert texts_of(characters) == [("酒店服务很好 !",)]
        known = [jieba_words.vocab.index(word) for word in ("酒店", "服务", "很", "好")]
        assert as_lists(characters.encode(jieba_words)[0])[0][:4] == known

    def test_a_part_of_the_rows_as_text(self, tmp_path, pieces):
        built = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", True)
        assert list(built.texts(2, 5)) == texts_of(built)[2:5]


class TestReading:
    def test_a_second_build_reads_the_first(self, tmp_path, pieces, monkeypatch):
        first = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", False)

        def never(*_):
            raise AssertionError("built again")

        monkeypatch.setattr(transfer, "StoreWriter", never)
        second = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", False)
        assert texts_of(second) == texts_of(first)
        assert second.identity == first.identity == transfer_key(ENGLISH, pieces, HOW, 1, False)

    @pytest.mark.parametrize("file", ["text_0.bin", "text_0.offsets.bin", "label.bin", "manifest.json"])
    def test_a_damaged_set_is_built_again(self, tmp_path, pieces, file):
        build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", False)
        before = digests(tmp_path / "t")
        content = bytearray((tmp_path / "t" / file).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "t" / file).write_bytes(content)
        with pytest.raises(InputError, match="no usable transfer set"):
            load_transfer_set(tmp_path / "t")
        build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", False)
        assert digests(tmp_path / "t") == before

    def test_an_interrupted_build_leaves_nothing(self, tmp_path, pieces, monkeypatch):
        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(transfer, "augment_columns", stop)
        with pytest.raises(KeyboardInterrupt):
            build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", False)
        assert list(tmp_path.iterdir()) == []

    def test_another_kind_of_store_is_refused(self, tmp_path):
        with StoreWriter(tmp_path / "s", {"kind": "teacher-outputs"}) as writer:
            writer.append(logits=np.zeros((2, 2)))
        with pytest.raises(InputError, match="expected a transfer set, found a store of kind 'teacher-outputs'"):
            load_transfer_set(tmp_path / "s")

    def test_the_key_changes_with_all_that_decides_the_rows(self, pieces, tiny_vocab):
        changed = Rows(ENGLISH.texts, 1 - ENGLISH.labels)
        keys = [
            transfer_key(ENGLISH, pieces, HOW, 1, False),
            transfer_key(ENGLISH, pieces, HOW, 2, False),
            transfer_key(ENGLISH, pieces, HOW, 1, True),
            transfer_key(ENGLISH, pieces, PLAIN, 1, False),
            transfer_key(changed, pieces, HOW, 1, False),
            transfer_key(ENGLISH.take(np.arange(5)), pieces, HOW, 1, False),
            transfer_key(ENGLISH, WordPieceTokenizer([*tiny_vocab, "x1"]), HOW, 1, False),
            transfer_key(ENGLISH, WordPieceTokenizer(tiny_vocab, lowercase=False), HOW, 1, False),
        ]
        assert len(set(keys)) == len(keys)
        assert transfer_key(ENGLISH, pieces, HOW, 1, False) == keys[0]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class TestFromPath:
    def read(self, path: Path, tokenizer, task=TASK, **settings) -> transfer.TransferSet:
        return transfer_set_from_path(path, task, tokenizer, whole_words=False, **settings)

    def fault(self, path: Path, tokenizer, task=TASK) -> str:
        with pytest.raises(InputError) as caught:
            self.read(path, tokenizer, task)
        return str(caught.value)

    def test_a_folder(self, tmp_path, pieces):
        built = build_transfer_set(ENGLISH, pieces, HOW, 1, tmp_path / "t", False)
        shutil.move(tmp_path / "t", tmp_path / "moved")
        assert texts_of(self.read(tmp_path / "moved", pieces)) == texts_of(built)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("t.tsv", "text\tlabel\nthe film\tgood\nthe b\tbad\n"),
            ("t.csv", '"label","text"\ngood,the film\nbad,"the b"\n'),
            ("t.jsonl", '{"text": "the film", "label": "good"}\n{"text": "the b", "label": "bad"}\n'),
        ],
    )
    def test_a_table_with_labels(self, tmp_path, pieces, name, content):
        read = self.read(write(tmp_path, name, content), pieces)
        assert texts_of(read) == [("the film",), ("the b",)]
        assert read.labels.tolist() == [1, 0]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("t.tsv", "id\ttext\n1\tthe label\n2\tthe b\n"),
            ("t.csv", "text\nthe label\nthe b\n"),
            ("t.jsonl", '{"text": "the label"}\n{"text": "the b"}\n'),
            ("t.txt", "the label\n\n  the b\r\n"),
        ],
    )
    def test_rows_without_labels(self, tmp_path, pieces, name, content):
        read = self.read(write(tmp_path, name, content), pieces)
        assert texts_of(read) == [("the label",), ("the b",)]
        assert read.labels.tolist() == [NO_LABEL, NO_LABEL]

    def test_a_word_called_label_in_a_json_text_is_no_label(self, tmp_path, pieces):
        path = write(tmp_path, "t.jsonl", '{"text": "a \\"label\\" b"}\n{"text": "label"}\n')
        assert self.read(path, pieces).labels.tolist() == [NO_LABEL, NO_LABEL]

    def test_a_json_text_that_is_the_name_of_the_label_is_no_label(self, tmp_path, pieces):
        path = write(tmp_path, "t.jsonl", '{"text": "label"}\n{"text": "b"}\n')
        assert self.read(path, pieces).labels.tolist() == [NO_LABEL, NO_LABEL]

    def test_pairs_of_a_table(self, tmp_path, pieces):
        read = self.read(write(tmp_path, "t.tsv", "a\tb\nthe film\tthe b\n"), pieces, PAIR)
        assert texts_of(read) == [("the film", "the b")]

    def test_the_identity_is_that_of_the_rows(self, tmp_path, pieces):
        first = self.read(write(tmp_path, "1.txt", "a\nb\n"), pieces)
        assert self.read(write(tmp_path, "2.txt", "a\r\nb"), pieces).identity == first.identity
        assert self.read(write(tmp_path, "3.txt", "a\nc\n"), pieces).identity != first.identity

    @pytest.mark.parametrize("name", ["no", "no.tsv", "no.txt", "no.jsonl", "no.csv"])
    def test_nothing_there(self, tmp_path, pieces, name):
        assert self.fault(tmp_path / name, pieces) == f"--transfer_set {tmp_path / name}: no such file or folder"

    def test_an_empty_folder(self, tmp_path, pieces):
        assert self.fault(tmp_path, pieces).startswith(f"no usable transfer set: {tmp_path}: no complete store here")

    @pytest.mark.parametrize("name", ["t.txt", "t.tsv", "t.csv", "t.jsonl"])
    def test_an_empty_file(self, tmp_path, pieces, name):
        path = write(tmp_path, name, "")
        assert str(path) in self.fault(path, pieces)

    @pytest.mark.parametrize(
        ("name", "content"), [("t.txt", "\n \n"), ("t.tsv", "text\n"), ("t.csv", "text,label\n"), ("t.jsonl", "")]
    )
    def test_a_file_without_rows(self, tmp_path, pieces, name, content):
        path = write(tmp_path, name, content)
        assert self.fault(path, pieces) == f"--transfer_set {path}: no text in this file"

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("t.txt", b"a\nb\0\n", "line 2: a NUL character"),
            ("t.txt", b"a\nb\n\xff\n", "line 3: expected UTF-8, found byte 0xff at position 1"),
            ("t.tsv", b"text\tlabel\na\tgood\nb\tugly\n", "line 3: unknown label 'ugly'"),
            ("t.tsv", b"other\nx\n", "line 1: expected a column 'text'"),
        ],
    )
    def test_a_fault_is_named_by_file_and_line(self, tmp_path, pieces, name, content, message):
        path = write(tmp_path, name, content)
        assert f"{path}, {message}" in self.fault(path, pieces)

    def test_labels_are_found_behind_a_bad_row(self, tmp_path, pieces):
        path = write(tmp_path, "t.jsonl", '{"text"\n{"text": "a", "label": "good"}\n')
        assert self.read(path, pieces, skip_bad_rows=True).labels.tolist() == [1]

    def test_bad_rows_can_be_skipped(self, tmp_path, pieces):
        path = write(tmp_path, "t.txt", b"a\n\xff\nb\0\nc\n")
        assert texts_of(self.read(path, pieces, skip_bad_rows=True)) == [("a",), ("c",)]
