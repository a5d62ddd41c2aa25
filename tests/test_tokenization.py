"""Tokens are PaddleNLP's, id by id, and rows are laid out as PaddleNLP lays them out."""

from __future__ import annotations

import json
import unicodedata
import warnings
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import InputError
from data.ragged import Ragged
from data.tokenization import (
    CLS,
    MASK,
    PAD,
    SEP,
    SPECIAL_TOKENS,
    UNK,
    BertWords,
    InputEncoder,
    JiebaTokenizer,
    WordPieceTokenizer,
    cut_longest_first,
    joined_pieces,
    load_tokenizer,
    read_vocab,
    shortened,
    tokenizer_identity,
)
from models.pretrained import bundled_folder

STRINGS = 4000
both_cases = pytest.mark.parametrize("lowercase", [True, False], ids=["uncased", "cased"])

# First and last code points from which awkward strings are drawn.
RANGES = {
    "ascii": (0x20, 0x7E),
    "control": (0x00, 0x1F),
    "latin-1 with its controls": (0x7F, 0xFF),
    "latin with accents": (0x100, 0x24F),
    "phonetic": (0x250, 0x2FF),
    "combining marks": (0x300, 0x36F),
    "greek": (0x370, 0x3FF),
    "cyrillic": (0x400, 0x52F),
    "hebrew": (0x590, 0x5FF),
    "arabic": (0x600, 0x6FF),
    "devanagari": (0x900, 0x97F),
    "thai": (0xE00, 0xE7F),
    "georgian": (0x10A0, 0x10FF),
    "hangul jamo": (0x1100, 0x11FF),
    "cherokee": (0x13A0, 0x13FF),
    "vietnamese": (0x1E00, 0x1EFF),
    "greek with accents": (0x1F00, 0x1FFF),
    "spaces and format": (0x2000, 0x206F),
    "super- and subscripts": (0x2070, 0x209F),
    "currency": (0x20A0, 0x20CF),
    "marks for symbols": (0x20D0, 0x20FF),
    "letter-like": (0x2100, 0x214F),
    "numbers": (0x2150, 0x218F),
    "arrows and mathematics": (0x2190, 0x22FF),
    "boxes and dingbats": (0x2500, 0x27BF),
    "radicals": (0x2E80, 0x2FDF),
    "cjk punctuation and kana": (0x3000, 0x30FF),
    "extension a": (0x3400, 0x4DBF),
    "hexagrams": (0x4DC0, 0x4DFF),
    "cjk": (0x4E00, 0x9FFF),
    "hangul": (0xAC00, 0xD7A3),
    "private": (0xE000, 0xF8FF),
    "compatibility": (0xF900, 0xFAFF),
    "presentation forms": (0xFB00, 0xFDFF),
    "variation selectors": (0xFE00, 0xFE0F),
    "full width": (0xFF00, 0xFFEF),
    "specials": (0xFFF0, 0xFFFF),
    "anywhere": (0x10000, 0x1FFFF),
    "musical": (0x1D100, 0x1D1FF),
    "bold letters": (0x1D400, 0x1D7FF),
    "emoji": (0x1F300, 0x1FAFF),
    "extension b": (0x20000, 0x2A6DF),
    "extensions c to f": (0x2A6E0, 0x2EBEF),
    "compatibility supplement": (0x2F800, 0x2FA1F),
    "extension g": (0x30000, 0x3134F),
    "tags": (0xE0000, 0xE01EF),
    "private planes": (0xF0000, 0x10FFFF),
}
FRAGMENTS = [
    *SPECIAL_TOKENS,
    *(
        "[mask]",
        "[unused1]",
        "[MA\u200bSK]",
        "[MA\x01SK]",
        "[[MASK]]",
        "[MASK",
        "##ing",
        "unaffable",
        "naïve",
        "Straße",
        "ẞ",
    ),
    *("İstanbul", "ısı", "ΣΑΣ", "ὈΔΥΣΣΕΎΣ", "e\u0301\u0327", "a\u0327\u0301", "ﬁne", "Ǆ", "ŉ", "ΐ"),
    *("👩\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "👍🏽", "🇩🇪", "❤️", "1️⃣"),
    *("５ Ａｂ", "\u3000", "\u00a0", "\u2028", "\u2029", "\u0085", "\ufeff", "\u00ad", "\u200b", "\u202e", "\ufffd"),
    *("\u180e", "\u1680", "\u2060", "\x1c", "\x0b", "\x00", "\t", "\r\n", "m²", "5€", "€5", "C++", "a=b", "~x~", "™x"),
    *("x" * 100, "x" * 101, "é" * 101, "\u0301" * 120, "好" * 101, "\u200b" * 101, "שלום", "مرحبا", "你好，世界！"),
    *(
        "Ⅷ",
        "〇",
        "µm",
        "ºC",
        "Ø",
        "ŋ",
        "Ʊ",
        "〜",
        "・",
        "々",
        "\U00020000",
        "\U0002f800",
        "\u302e\u0316",
        "\U0001d165\u0301",
    ),
]


def awkward_strings(count: int, seed: int) -> list[str]:
    """Strings in which all of the above meets ordinary words, with and without blanks between."""
    random = Random(seed)
    ranges = list(RANGES.values())
    words = ["The", "film", "is", "GOOD", "don't", "re-made", "3.5", "tokenization", "很好看"]

    def piece() -> str:
        kind = random.random()
        if kind < 0.25:
            return random.choice(words)
        if kind < 0.5:
            return random.choice(FRAGMENTS)
        first, last = random.choice(ranges)
        text = "".join(chr(random.randint(first, last)) for _ in range(random.randint(1, 5)))
        return text if kind < 0.8 else f"a{text}Z"

    return [
        "".join(piece() + random.choice(["", " ", " ", ""]) for _ in range(random.randint(1, 8))) for _ in range(count)
    ]


@pytest.fixture(scope="module")
def vocab() -> list[str]:
    return read_vocab(bundled_folder() / "vocab.txt")


@pytest.fixture(scope="module")
def paddlenlp_tokenizer(vocab, tmp_path_factory) -> Callable:
    """Makes PaddleNLP's tokenizer over the bundled vocabulary, as its users do: from a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from paddlenlp.transformers import BertTokenizer

    made = {}
    for lowercase in (True, False):
        folder = tmp_path_factory.mktemp("tokenizer")
        WordPieceTokenizer(vocab, lowercase).save(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made[lowercase] = BertTokenizer.from_pretrained(str(folder))
        assert made[lowercase].do_lower_case is lowercase
    return made.__getitem__


@pytest.fixture(scope="module")
def uncased(vocab) -> WordPieceTokenizer:
    return WordPieceTokenizer(vocab)


@pytest.fixture(scope="module")
def tiny(tiny_vocab) -> WordPieceTokenizer:
    return WordPieceTokenizer(tiny_vocab)


def pieces(tokenizer, text: str) -> list[str]:
    return [tokenizer.vocab[i] for i in tokenizer.encode([text])[0]]


def as_lists(rows: Ragged) -> list[list[int]]:
    return [rows[number].tolist() for number in range(len(rows))]


class TestSameAsPaddleNLP:
    @both_cases
    def test_awkward_strings(self, vocab, paddlenlp_tokenizer, lowercase):
        theirs, ours = paddlenlp_tokenizer(lowercase), WordPieceTokenizer(vocab, lowercase)
        texts = [*FRAGMENTS, *awkward_strings(STRINGS, 1)]
        found = as_lists(ours.encode(texts))
        for text, ids in zip(texts, found, strict=True):
            assert ids == theirs.convert_tokens_to_ids(theirs.tokenize(text)), ascii(text)

    @both_cases
    def test_every_character_of_the_basic_plane_between_letters(self, vocab, paddlenlp_tokenizer, lowercase):
        theirs, ours = paddlenlp_tokenizer(lowercase), WordPieceTokenizer(vocab, lowercase)
        codes = [*range(0xD800), *range(0xE000, 0x10000)]
        texts = ["".join(f"a{chr(code)}b " for code in codes[start : start + 64]) for start in range(0, len(codes), 64)]
        found = as_lists(ours.encode(texts))
        for text, ids in zip(texts, found, strict=True):
            assert ids == theirs.convert_tokens_to_ids(theirs.tokenize(text)), ascii(text)

    @both_cases
    @pytest.mark.parametrize("length", [4, 9, 128])
    def test_single_texts_as_a_model_reads_them(self, vocab, paddlenlp_tokenizer, lowercase, length):
        theirs = paddlenlp_tokenizer(lowercase)
        texts = awkward_strings(150, 2)
        rows = InputEncoder(WordPieceTokenizer(vocab, lowercase), length, "bert").encode([texts])
        for number, text in enumerate(texts):
            expected = theirs(text, max_length=length, truncation=True)
            assert rows["input_ids"][number].tolist() == expected["input_ids"]
            assert rows["token_type_ids"][number].tolist() == expected["token_type_ids"]

    @pytest.mark.filterwarnings("ignore:Be aware, overflowing tokens")
    @both_cases
    @pytest.mark.parametrize("length", [5, 12, 13, 64])
    def test_pairs_as_a_model_reads_them(self, vocab, paddlenlp_tokenizer, lowercase, length):
        theirs = paddlenlp_tokenizer(lowercase)
        first, second = awkward_strings(150, 3), awkward_strings(150, 4)
        rows = InputEncoder(WordPieceTokenizer(vocab, lowercase), length, "bert").encode([first, second])
        for number, texts in enumerate(zip(first, second, strict=True)):
            expected = theirs(*texts, max_length=length, truncation=True)
            assert rows["input_ids"][number].tolist() == expected["input_ids"]
            assert rows["token_type_ids"][number].tolist() == expected["token_type_ids"]

    def test_awkward_strings_are_awkward(self):
        texts = "".join(awkward_strings(STRINGS, 1))
        categories = {unicodedata.category(char) for char in texts}
        assert {"Cc", "Cf", "Cn", "Co", "Mn", "Mc", "Me", "Zl", "Zp", "Zs", "Sc", "So", "Lo", "Nl"} <= categories
        assert all(token in texts for token in SPECIAL_TOKENS)


class TestBertWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("It's 5€ now", "it ' s 5 € now"),
            ("Crème  BRÛLÉE", "creme brulee"),
            ("很好, OK", "很 好 , ok"),
            ("a\u200bb\u00adc\x00d\ufeff", "abcd"),
            ("a\u3000b\u00a0c\u2028d\te", "a b c d e"),
            ("ΟΔΟΣ İ ß", "οδοσ i ß"),
            ("x[MASK]y [mask]", "x [MASK] y [ mask ]"),
            ("👍🏽", "👍 🏽"),
        ],
    )
    def test_uncased(self, text, words):
        assert BertWords(lowercase=True)(text).split() == words.split()

    @pytest.mark.parametrize(
        ("text", "words"),
        [("Crème 5€", "Crème 5 €"), ("e\u0301A", "e\u0301A"), ("[MA\u200bSK] é", "[MASK] é"), ("很A", "很 A")],
    )
    def test_cased(self, text, words):
        assert BertWords(lowercase=False)(text).split() == words.split()

    def test_the_steps_of_the_tokenizers_library_still_leave_symbols_joined(self):
        # When this fails, the library may do what BertWords is there for.
        from tokenizers import normalizers, pre_tokenizers

        text = normalizers.BertNormalizer().normalize_str("5€ off")
        assert [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)] == ["5€", "off"]

    @given(st.text())
    def test_words_of_words_are_the_same(self, text):
        words = BertWords(lowercase=True)
        assert words(words(text)).split() == words(text).split()


class TestWordPieces:
    def test_the_longest_piece_comes_first(self, tiny):
        assert pieces(tiny, "Goodly filming, un-able!") == [
            *("good", "##ly", "film", "##ing", ",", "un", "-", "a", "##b", "##l", "##e", "!")
        ]

    def test_a_word_that_cannot_be_spelt_is_unknown(self, tiny):
        assert pieces(tiny, "good gößd") == ["good", UNK]
        assert pieces(tiny, "文 好") == [UNK, "好"]

    def test_a_word_of_more_than_100_characters_is_unknown(self, tiny):
        assert pieces(tiny, "a" * 100) == ["a", *["##a"] * 99]
        assert pieces(tiny, "a" * 101) == [UNK]

    def test_special_tokens_in_a_text_are_tokens(self, tiny):
        assert pieces(tiny, "good[MASK]film [SEP]") == ["good", MASK, "film", SEP]

    def test_a_text_without_tokens_is_an_empty_row(self, tiny):
        assert as_lists(tiny.encode(["", "a", "\u200b"])) == [[], [5], []]

    def test_no_texts_are_no_rows(self, tiny):
        assert len(tiny.encode([])) == 0

    def test_many_texts_are_encoded_as_one_by_one(self, tiny, monkeypatch):
        texts = [f"film {number}" for number in range(25)]
        alone = [tiny.encode([text])[0].tolist() for text in texts]
        monkeypatch.setattr("data.tokenization.ENCODE_BLOCK", 10)
        assert as_lists(tiny.encode(texts)) == alone

    @given(st.lists(st.text(alphabet="abé.中 \u3000'", max_size=8), max_size=5))
    def test_words_are_encoded_as_within_their_text(self, tiny, texts):
        for text in texts:
            words = tiny.encode_words(tiny.words(text))
            assert words.values.tolist() == tiny.encode([text])[0].tolist()

    def test_a_tokenizer_needs_the_special_tokens(self):
        with pytest.raises(InputError, match=r"the vocabulary lacks \[CLS\], \[MASK\]: this is no BERT vocab"):
            WordPieceTokenizer([PAD, UNK, SEP, "a"])

    @both_cases
    def test_saved_and_loaded_it_is_the_same(self, tiny_vocab, tmp_path, lowercase):
        tokenizer = WordPieceTokenizer([*tiny_vocab, "é", "A", "B"], lowercase)
        tokenizer.save(tmp_path)
        loaded = load_tokenizer(tmp_path, "wordpiece")
        assert tokenizer_identity(loaded) == tokenizer_identity(tokenizer)
        assert pieces(loaded, "É A é") == pieces(tokenizer, "É A é")
        assert json.loads((tmp_path / "tokenizer_config.json").read_text())["do_lower_case"] is lowercase

    def test_without_a_config_it_is_uncased(self, tiny_vocab, tmp_path):
        (tmp_path / "vocab.txt").write_text("\n".join(tiny_vocab), encoding="utf-8")
        assert WordPieceTokenizer.load(tmp_path).lowercase

    def test_a_damaged_config_is_bad_input(self, tiny, tmp_path):
        tiny.save(tmp_path)
        (tmp_path / "tokenizer_config.json").write_text("{")
        with pytest.raises(InputError, match=r"tokenizer_config\.json: not valid JSON"):
            WordPieceTokenizer.load(tmp_path)

    @pytest.mark.parametrize("content", ["[]", "null", "3"])
    def test_a_config_that_is_no_object_is_bad_input(self, tiny, tmp_path, content):
        tiny.save(tmp_path)
        (tmp_path / "tokenizer_config.json").write_text(content)
        with pytest.raises(InputError, match=r"tokenizer_config\.json: not valid JSON \(expected a JSON object"):
            WordPieceTokenizer.load(tmp_path)

    def test_an_unknown_kind_is_bad_input(self, tmp_path):
        with pytest.raises(InputError, match=r"unknown tokenizer kind 'bpe'; expected one of wordpiece, jieba"):
            load_tokenizer(tmp_path, "bpe")


class TestVocabularies:
    @pytest.mark.parametrize("content", ["a\nb", "a\nb\n", "a\nb\n\n", "a\r\nb\r\n"])
    def test_line_ends(self, tmp_path, content):
        (tmp_path / "vocab.txt").write_bytes(content.encode())
        assert read_vocab(tmp_path / "vocab.txt") == ["a", "b"]

    def test_only_line_feeds_part_tokens(self, tmp_path):
        (tmp_path / "vocab.txt").write_text("a\u2028\nb\x85\n", encoding="utf-8")
        assert read_vocab(tmp_path / "vocab.txt") == ["a\u2028", "b\x85"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, r"vocab\.txt: no vocabulary here"),
            (b"a\n\xff\n", r"vocab\.txt: expected UTF-8"),
            (b"a\nb\na\n", r"vocab\.txt: the token 'a' stands there more than once"),
        ],
    )
    def test_damage_is_bad_input(self, tmp_path, content, message):
        if content is not None:
            (tmp_path / "vocab.txt").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_vocab(tmp_path / "vocab.txt")

    def test_an_empty_vocabulary_is_bad_input(self, tmp_path):
        (tmp_path / "vocab.txt").write_bytes(b"")
        with pytest.raises(InputError, match="the vocabulary lacks"):
            WordPieceTokenizer.load(tmp_path)


class TestLayout:
    def ids(self, tiny: WordPieceTokenizer, *tokens: str) -> list[int]:
        return [tiny.token_id(token) for token in tokens]

    def test_a_single_text(self, tiny):
        rows = InputEncoder(tiny, 6, "bert").encode([["good film", "a b c d e f"]])
        assert rows["input_ids"][0].tolist() == self.ids(tiny, CLS, "good", "film", SEP)
        assert rows["input_ids"][1].tolist() == self.ids(tiny, CLS, "a", "b", "c", "d", SEP)
        assert as_lists(rows["token_type_ids"]) == [[0] * 4, [0] * 6]

    def test_a_pair(self, tiny):
        rows = InputEncoder(tiny, 7, "bert").encode([["a b c"], ["good film . ."]])
        # 7 - 3 special tokens leave 4: the second text loses one to be as long as the first, then each loses one.
        assert rows["input_ids"][0].tolist() == self.ids(tiny, CLS, "a", "b", SEP, "good", "film", SEP)
        assert rows["token_type_ids"][0].tolist() == [0, 0, 0, 0, 1, 1, 1]

    def test_texts_without_tokens(self, tiny):
        rows = InputEncoder(tiny, 9, "bert").encode([["\u200b"], ["a"]])
        assert rows["input_ids"][0].tolist() == self.ids(tiny, CLS, SEP, "a", SEP)
        assert rows["token_type_ids"][0].tolist() == [0, 0, 1, 1]

    def test_no_rows(self, tiny):
        assert len(InputEncoder(tiny, 9, "bert").encode([[], []])["input_ids"]) == 0
        assert len(InputEncoder(tiny, 9, "plain").encode([[]])["input_ids"]) == 0

    def test_plain_rows_have_no_special_tokens(self, tiny):
        rows = InputEncoder(tiny, 3, "plain").encode([["good film", "a b c d"], ["x", ""]])
        assert as_lists(rows["input_ids"]) == [self.ids(tiny, "good", "film"), self.ids(tiny, "a", "b", "c")]
        assert as_lists(rows["input_ids_b"]) == [self.ids(tiny, "x"), self.ids(tiny, UNK)]

    @given(st.lists(st.sampled_from(["", "\u200b", "a", "a b c"]), min_size=1, max_size=6), st.integers(1, 3))
    def test_plain_rows_are_never_empty(self, tiny, texts, length):
        rows = InputEncoder(tiny, length, "plain").encode([texts])["input_ids"]
        wanted = [row[:length] or [tiny.token_id(UNK)] for row in as_lists(tiny.encode(texts))]
        assert as_lists(rows) == wanted

    def test_the_fill_is_the_padding_token(self, tiny):
        assert InputEncoder(tiny, 8, "bert").pad_id == 0

    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8), st.integers(0, 40))
    def test_the_longer_text_loses_first(self, lengths, budget):
        def one_by_one(first: int, second: int) -> tuple[int, int]:
            while first + second > budget:
                first, second = (first - 1, second) if first > second else (first, second - 1)
            return first, second

        first, second = np.asarray(lengths).T
        kept = cut_longest_first(first, second, budget)
        assert list(zip(*(side.tolist() for side in kept), strict=True)) == [one_by_one(*pair) for pair in lengths]


class TestJieba:
    VOCAB = (PAD, UNK, MASK, "酒店", "服务", "很", "好", "房", "间")

    def test_words_without_white_space(self):
        tokenizer = JiebaTokenizer(self.VOCAB)
        assert tokenizer.words("酒店 服务\u3000很好") == ["酒店", "服务", "很", "好"]
        assert tokenizer.words("很 [MASK] 好") == ["很", MASK, "好"]

    def test_an_unknown_word_falls_back_to_its_characters(self):
        tokenizer = JiebaTokenizer(self.VOCAB)
        assert tokenizer.word_ids("酒店") == [3]
        assert tokenizer.word_ids("房间") == [7, 8]
        assert tokenizer.word_ids("房子") == [7, 1]
        assert tokenizer.word_ids("子") == [1]

    def test_texts_are_the_ids_of_their_words(self):
        tokenizer = JiebaTokenizer(self.VOCAB)
        assert as_lists(tokenizer.encode(["酒店服务好", "", "房间"])) == [[3, 4, 6], [], [7, 8]]
        assert as_lists(tokenizer.encode_words(["酒店", "房间"])) == [[3], [7, 8]]

    def test_a_vocabulary_of_texts_has_common_words_then_characters(self):
        texts = ["酒店服务", "酒店服务", "酒店房间"]
        assert JiebaTokenizer.from_texts(texts, 100).vocab == [
            *(PAD, UNK, MASK, "酒店", "服务"),
            *("酒", "店", "服", "务", "房", "间"),
        ]

    def test_words_are_counted_as_they_are_read(self):
        texts = ["我装了 windows xp 系统", "这个 windows xp 系统很好"]
        tokenizer = JiebaTokenizer.from_texts(texts, 100)
        assert "windows" in tokenizer.vocab and "windowsxp" not in tokenizer.vocab
        ids = tokenizer.encode(["windows"])[0].tolist()
        assert [tokenizer.vocab[i] for i in ids] == ["windows"]

    def test_its_size_is_bounded(self):
        texts = ["酒店服务", "酒店服务", "酒店房间"]
        assert JiebaTokenizer.from_texts(texts, 5).vocab == [PAD, UNK, MASK, "酒店", "服务"]

    def test_rare_words_are_left_to_their_characters(self):
        texts = ["酒店服务", "酒店服务", "酒店房间"]
        assert "房间" in JiebaTokenizer.from_texts(texts, 100, min_count=1).vocab
        assert JiebaTokenizer.from_texts(texts, 100, min_count=3).vocab[3:5] == ["酒店", "酒"]

    def test_saved_and_loaded_it_is_the_same(self, tmp_path):
        JiebaTokenizer(self.VOCAB).save(tmp_path)
        assert tokenizer_identity(load_tokenizer(tmp_path, "jieba")) == tokenizer_identity(JiebaTokenizer(self.VOCAB))

    def test_it_needs_its_special_words(self):
        with pytest.raises(InputError, match=r"the word vocabulary lacks \[MASK\]"):
            JiebaTokenizer([PAD, UNK, "好"])

    def test_plain_rows_for_the_student(self):
        rows = InputEncoder(JiebaTokenizer(self.VOCAB), 2, "plain").encode([["酒店服务好", " "]])
        assert as_lists(rows["input_ids"]) == [[3, 4], [1]]


# Rows of megabytes

ALPHABETS = ["a the film good ", "的好a,.![]MASK ", "é\u0301\u200d\x01 a ab的 _-", "😀a b\x00\ufffd", "[]a"]


@pytest.mark.parametrize("alphabet", [*ALPHABETS, ["[MASK]", "a", "[", "的", " "]])
@pytest.mark.parametrize("wanted", [1, 3, 50])
def test_a_long_text_is_cut_without_changing_its_first_tokens(tiny_vocab, alphabet, wanted):
    tokenizer, rng = WordPieceTokenizer(tiny_vocab), Random(0)
    for number in range(12):
        text = "".join(rng.choice(alphabet) for _ in range(9_000))
        # A word of 2,000 letters before or behind.
        text = (text, f"{'a' * 2_000}{text}", f"{text}{'a' * 2_000} b")[number % 3]
        whole = tokenizer.encode([text], longest=10**9).values
        found = tokenizer.encode([text], longest=wanted).values
        assert found[:wanted].tolist() == whole[:wanted].tolist()


def test_short_texts_are_never_cut(tiny_vocab):
    text = "the film " * 800
    assert shortened(text, 1) is text


@pytest.mark.parametrize("unit", ["the film ", "a", "的", "é", ".", "[x", "[", "\u0301"])
def test_the_work_on_a_row_does_not_grow_with_it(tiny_vocab, unit):
    text = unit * (1_000_000 // len(unit))
    assert len(shortened(text, 128)) < 20_000 or unit == "\u0301"
    assert len(WordPieceTokenizer(tiny_vocab).encode([text], 128).values) < 3_000


def test_long_chinese_texts_are_cut_without_changing_their_first_words():
    words = ["[PAD]", "[UNK]", "[MASK]", "房间", "服务", "很好", "，"]
    tokenizer, rng = JiebaTokenizer(words), Random(1)
    for marks in ("，。 ", ""):
        text = "".join(rng.choice(["房间", "服务", "很好", "看", "干净", *marks]) for _ in range(9_000))
        whole = tokenizer.encode([text], longest=10**9).values
        found = tokenizer.encode([text], longest=64).values
        assert len(found) < len(whole)
        assert found[:64].tolist() == whole[:64].tolist()


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["good", "film", "##s", "!"], "good films !"),
        (["##s", "and"], "s and"),
        (["房", "间", "很", "好", "，", "干", "净"], "房间很好 ， 干净"),
        (["看", "dvd", "##s", "的", "书"], "看 dvds 的书"),
        ([], ""),
    ],
)
def test_pieces_become_text_again(pieces, text):
    assert joined_pieces(pieces) == text


def test_words_of_joined_chinese_pieces_are_those_of_the_text(tiny_vocab):
    text = "房间很干净服务不错"
    pieces = WordPieceTokenizer([*tiny_vocab, *dict.fromkeys(text)])
    (ids,) = ([pieces.vocab[i] for i in row] for row in [pieces.encode([text])[0]])
    words = JiebaTokenizer.words_of(JiebaTokenizer(["[PAD]", "[UNK]", "[MASK]", *text]), [joined_pieces(ids)])
    assert list(map(list, words)) == [["房间", "很", "干净", "服务", "不错"]]
