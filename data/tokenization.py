"""From text to token ids: WordPiece for BERT and English students, jieba words for Chinese students.

Both kinds turn a list of texts into a :class:`Ragged` of ids without special tokens; :class:`InputEncoder` lays
the ids out as a model wants them. A tokenizer saves itself into a model folder and is loaded from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from console import InputError, progress
from data.columns import Columns
from data.ragged import Ragged
from data.segmentation import MASK, beginning, jieba_words, segment
from files import read_json, write_atomically

PAD, UNK, CLS, SEP = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK)
SPECIAL_PATTERN = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")
ENCODE_BLOCK = 4096
# Tokens of a text beyond these are never read, and characters of a word beyond these never decide its pieces.
LONGEST_TEXT = 1 << 16
LONGEST_WORD = 1_000
# Longer words are unknown, as to PaddleNLP.
MAX_WORD = 100
# Shorter texts are tokenised whole: looking for a place to cut them would take longer.
SHORT_TEXT = 8_192
# What PaddleNLP takes for Chinese: each of these characters is a word.
CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
_CHINESE_CHARS = "".join(f"{chr(first)}-{chr(last)}" for first, last in CHINESE)
_BETWEEN_CHINESE = re.compile(f"(?<=[{_CHINESE_CHARS}]) (?=[{_CHINESE_CHARS}])")
# Letters and digits that PaddleNLP takes for symbols.
MORE_SYMBOLS = "\u00b2\u00ba\u3007\u00b5\u00d8\u014b\u01b1"


class Tokenizer(Protocol):
    """What the rest of the project needs of a tokenizer."""

    kind: str
    vocab: list[str]

    def encode(self, texts: Sequence[str], longest: int = LONGEST_TEXT) -> Ragged:
        """Token ids of every text, without special tokens; of a long text at least its first ``longest``."""

    def words(self, text: str) -> list[str]:
        """The words of a text: the units of whole-word augmentation."""

    def words_of(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """The words of many texts; several processes may share the work."""

    def encode_words(self, words: Sequence[str]) -> Ragged:
        """Token ids of single words, as :meth:`encode` gives them within a text."""

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the tokenizer's files into a model folder."""

    def token_id(self, token: str) -> int:
        """The id of a token of the vocabulary."""


class BertWords:
    """Writes a text as the words that PaddleNLP's ``BertTokenizer`` cuts into pieces, with blanks between them.

    ``tokenizers`` has a ``BertNormalizer`` of its own, but it leaves symbols (``€``, emoji) joined to their
    neighbours, and its Unicode tables are of another year than Python's, which PaddleNLP reads. So this step is
    done here, by tables for ``str.translate`` that fill up as characters turn up.

    Args:
        lowercase: lower-case and strip accents.
    """

    def __init__(self, lowercase: bool) -> None:
        self.lowercase = lowercase
        self._clean = _CharTable(_cleaned_lower if lowercase else _cleaned)
        self._split = _CharTable(_split_unaccented if lowercase else _split)
        # No ASCII character has an accent, so one pass does for such texts.
        self._ascii = {code: self._clean[code].translate(self._split) for code in range(128)}

    def __call__(self, text: str) -> str:
        """``"It's 5€"`` becomes ``"it ' s 5 €"``; special tokens stay as they are."""
        if "[" not in text:
            return self._words(text)
        parts = SPECIAL_PATTERN.split(text)
        return " ".join(part if part in SPECIAL_TOKENS else self._words(part) for part in parts)

    def placed_words(self, text: str) -> list[tuple[str, np.ndarray]]:
        """The same words, each with the character of ``text`` that every one of its characters comes from.

        Special tokens in the text are words like others here.
        """
        words: list[tuple[str, np.ndarray]] = []
        kept: list[str] = []
        places: list[int] = []
        for place, char in enumerate(text):
            for one in self._of(char):
                if not one.isspace():
                    kept.append(one)
                    places.append(place)
                elif kept:
                    words.append(("".join(kept), np.asarray(places)))
                    kept, places = [], []
        if kept:
            words.append(("".join(kept), np.asarray(places)))
        return words

    def _of(self, char: str) -> str:
        """What a character becomes, whatever stands around it."""
        cleaned = char.translate(self._clean)
        return (unicodedata.normalize("NFD", cleaned) if self.lowercase else cleaned).translate(self._split)

    def _words(self, text: str) -> str:
        if text.isascii() and (self.lowercase or "[" not in text):
            return text.translate(self._ascii)
        text = text.translate(self._clean)
        if self.lowercase:
            return unicodedata.normalize("NFD", text).translate(self._split)
        # What cleaning turns into a special token is one, if it keeps its case and stands alone: ``[MA\x01SK]``.
        return " ".join(word if word in SPECIAL_TOKENS else word.translate(self._split) for word in text.split())


# Where a word begins or ends whatever stands around: blanks, marks, Chinese characters. Found by a wider pattern first.
PERHAPS_APART = re.compile(f"[\\[\\]]{{1,99}}|[^\\w\\[\\]]|_|[{_CHINESE_CHARS}]")


def shortened(text: str, tokens: int) -> str:
    """The beginning of a text that holds at least its first ``tokens`` tokens; short texts as they are.

    Memory then depends on the tokens that are wanted and not on the text: a word of a million letters is one
    unknown token, and is read as one of a thousand.
    """
    if len(text) <= max(SHORT_TEXT, tokens):
        return text
    parts: list[str] = []
    found, start = 0, 0
    for match in PERHAPS_APART.finditer(text):
        marks = match.group()
        brackets = marks[0] in "[]"
        if not brackets and not _is_apart(marks):
            continue
        # What stands between may be nothing but characters that are left out.
        word = _shortened_word(text[start : match.start()])
        parts += (word, marks)
        # The first and the last of some brackets may be parts of special tokens.
        found += any(map(str.isalnum, word)) + (max(0, len(marks) - 2) if brackets else not marks.isspace())
        start = match.end()
        if found >= tokens:
            return "".join(parts)
    return "".join((*parts, _shortened_word(text[start:])))


@cache
def _is_apart(char: str) -> bool:
    is_chinese = any(first <= ord(char) <= last for first, last in CHINESE)
    return is_chinese or char in "\t\n\r" or (unicodedata.category(char)[0] in "PSZ" and char != "\ufffd")


def joined_words(words: Iterable[str]) -> str:
    """The text that a BERT's words came from, as far as they tell: blanks between Chinese characters are gone."""
    return _BETWEEN_CHINESE.sub("", " ".join(words))


def joined_pieces(pieces: Iterable[str]) -> str:
    """The same of word pieces."""
    return joined_words([" ".join(pieces).replace(" ##", "").removeprefix("##")])


def _shortened_word(word: str) -> str:
    """A word whose pieces are the same: beyond a hundred characters that count it is unknown anyway."""
    if len(word) <= LONGEST_WORD:
        return word
    kept = sum(map(str.isalnum, word[:LONGEST_WORD]))
    return word[:LONGEST_WORD] if kept > MAX_WORD else word


class _CharTable(dict[int, str]):
    """A table for ``str.translate`` that asks ``rule`` once a character."""

    def __init__(self, rule: Callable[[str], str]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, code: int) -> str:
        self[code] = self._rule(chr(code))
        return self[code]


def _cleaned(char: str) -> str:
    category, code = unicodedata.category(char), ord(char)
    if char in "\t\n\r" or category.startswith("Z"):
        return " "
    if category.startswith("C") or char == "\ufffd":
        return ""
    return f" {char} " if any(first <= code <= last for first, last in CHINESE) else char


def _cleaned_lower(char: str) -> str:
    # Character by character, as PaddleNLP does: a capital sigma at the end of a word becomes a plain one.
    return "".join(map(_cleaned, char.lower()))


def _split(char: str) -> str:
    # Of ASCII, PaddleNLP takes all but letters, digits and blanks for punctuation; all of it is in P or S.
    return f" {char} " if unicodedata.category(char)[0] in "PS" or char in MORE_SYMBOLS else char


def _split_unaccented(char: str) -> str:
    return "" if unicodedata.category(char) == "Mn" else _split(char)


class WordPieceTokenizer:
    """BERT's tokenizer; equal to PaddleNLP's ``BertTokenizer``, id by id. ``tokenizers`` looks up the pieces.

    Args:
        vocab: the pieces in the order of their ids.
        lowercase: lower-case and strip accents.
    """

    kind = "wordpiece"

    def __init__(self, vocab: Sequence[str], lowercase: bool = True) -> None:
        from tokenizers import Tokenizer as FastTokenizer
        from tokenizers import pre_tokenizers
        from tokenizers.models import WordPiece

        self.vocab, self.lowercase = list(vocab), lowercase
        self._ids = {piece: i for i, piece in enumerate(self.vocab)}
        missing = [token for token in SPECIAL_TOKENS if token not in self._ids]
        if missing:
            raise InputError(f"the vocabulary lacks {', '.join(missing)}: this is no BERT vocab.txt")
        self._fast = FastTokenizer(WordPiece(self._ids, unk_token=UNK, max_input_chars_per_word=MAX_WORD))
        self._bert_words = BertWords(lowercase)
        self._fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        self._fast.add_special_tokens(list(SPECIAL_TOKENS))

    def encode(self, texts: Sequence[str], longest: int = LONGEST_TEXT) -> Ragged:
        """Token ids of every text, without special tokens; ``[MASK]`` and its like in a text are tokens.

        Args:
            texts: any number.
            longest: of a long text at least so many tokens; the rest may be left out.
        """
        if len(texts) == 0:
            return Ragged(np.empty(0, np.int32), np.zeros(1, np.int64))
        parts = []
        starts = range(0, len(texts), ENCODE_BLOCK)
        # A server encodes a few texts at a time: that is no work to show.
        shown = progress(starts, "word pieces", unit=f"× {ENCODE_BLOCK:,} text") if len(starts) > 1 else starts
        for start in shown:
            block = [self._bert_words(shortened(text, longest)) for text in texts[start : start + ENCODE_BLOCK]]
            parts.append(
                Ragged.from_rows([e.ids for e in self._fast.encode_batch_fast(block, add_special_tokens=False)])
            )
        return Ragged.concat(parts)

    def encode_placed(self, texts: Sequence[str]) -> tuple[Ragged, Ragged]:
        """Token ids of texts, and where in its text each token stands.

        Returns:
            Ids; and the first character of every token and the one behind its last, int64, [tokens, 2].
        """
        ids: list[list[int]] = []
        spans: list[np.ndarray] = []
        for text in texts:
            words = self._bert_words.placed_words(text)
            found = self._fast.encode([word for word, _ in words], is_pretokenized=True, add_special_tokens=False)
            ids.append(found.ids)
            own = np.empty((len(found.ids), 2), np.int64)
            start, before = 0, -1
            for token, (piece, number) in enumerate(zip(found.tokens, found.word_ids, strict=True)):
                word, places = words[number]
                start = 0 if number != before else start
                # What is unknown is so as a whole.
                length = len(word) if piece == UNK else len(piece.removeprefix("##") if start else piece)
                own[token] = places[start], places[min(start + length, len(word)) - 1] + 1
                start, before = start + length, number
            spans.append(own)
        flat = np.concatenate([np.empty((0, 2), np.int64), *spans])
        encoded = Ragged.from_rows(ids)
        return encoded, Ragged(flat, encoded.offsets)

    def words(self, text: str) -> list[str]:
        """White-space words, as published for English."""
        return text.split()

    def bert_words(self, text: str) -> list[str]:
        """The words that are cut into pieces: without case, marks apart, Chinese characters one by one."""
        return self._bert_words(shortened(text, LONGEST_TEXT)).split()

    def words_of(self, texts: Sequence[str]) -> Iterator[list[str]]:
        return map(self.words, texts)

    def encode_words(self, words: Sequence[str]) -> Ragged:
        """Pieces of single words; white space always ends a word, so the context does not matter."""
        return self.encode(words)

    def token_id(self, token: str) -> int:
        return self._ids[token]

    def save(self, folder: str | os.PathLike[str]) -> None:
        folder = Path(folder)
        write_vocab(folder / "vocab.txt", self.vocab)
        config = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "unk_token": UNK,
            "sep_token": SEP,
            "pad_token": PAD,
            "cls_token": CLS,
            "mask_token": MASK,
            "tokenize_chinese_chars": True,
            "strip_accents": None,
            "model_max_length": 512,
        }
        write_atomically(folder / "tokenizer_config.json", json.dumps(config, indent=1))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> WordPieceTokenizer:
        """Reads ``vocab.txt`` and, where there is one, ``tokenizer_config.json``."""
        folder = Path(folder)
        vocab = read_vocab(folder / "vocab.txt")
        try:
            config = read_json(folder / "tokenizer_config.json")
        except FileNotFoundError:
            config = {}
        except ValueError as error:
            raise InputError(f"{folder / 'tokenizer_config.json'}: not valid JSON ({error})") from error
        return cls(vocab, lowercase=bool(config.get("do_lower_case", True)))


class JiebaTokenizer:
    """Chinese words by jieba; a word that is not in the vocabulary falls back to its characters.

    Args:
        vocab: ``[PAD]``, ``[UNK]`` and ``[MASK]`` among them, in the order of their ids.
    """

    kind = "jieba"

    def __init__(self, vocab: Sequence[str]) -> None:
        self.vocab = list(vocab)
        self._ids = {word: i for i, word in enumerate(self.vocab)}
        self._longest_word = max(map(len, self.vocab), default=1)
        missing = [token for token in (PAD, UNK, MASK) if token not in self._ids]
        if missing:
            raise InputError(f"the word vocabulary lacks {', '.join(missing)}")

    def words(self, text: str) -> list[str]:
        """jieba's words, white space left out; ``[MASK]`` stays one word."""
        return jieba_words(text)

    def words_of(self, texts: Sequence[str]) -> Iterator[list[str]]:
        return segment(texts)

    def word_ids(self, word: str) -> list[int]:
        """The id of a word, or those of its characters when it is unknown."""
        if word in self._ids:
            return [self._ids[word]]
        return [self._ids.get(char, self._ids[UNK]) for char in word] if len(word) > 1 else [self._ids[UNK]]

    def encode_words(self, words: Sequence[str]) -> Ragged:
        return Ragged.from_rows(self.word_ids(word) for word in words)

    def encode(self, texts: Sequence[str], longest: int = LONGEST_TEXT) -> Ragged:
        # No id stands for more characters than the longest word has.
        needed = longest * self._longest_word
        texts = [beginning(text, needed) if len(text) > max(needed, SHORT_TEXT) else text for text in texts]
        found = self.words_of(texts)
        if len(texts) > ENCODE_BLOCK:
            found = progress(found, "words", len(texts), "text")
        return Ragged.from_rows([i for word in words for i in self.word_ids(word)] for words in found)

    def token_id(self, token: str) -> int:
        return self._ids[token]

    def save(self, folder: str | os.PathLike[str]) -> None:
        folder = Path(folder)
        write_vocab(folder / "vocab.txt", self.vocab)
        config = {"tokenizer_class": "JiebaTokenizer", "unk_token": UNK, "pad_token": PAD, "mask_token": MASK}
        write_atomically(folder / "tokenizer_config.json", json.dumps(config, indent=1))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> JiebaTokenizer:
        """Reads ``vocab.txt``."""
        return cls(read_vocab(Path(folder) / "vocab.txt"))

    @classmethod
    def from_texts(cls, texts: Iterable[str], size: int, min_count: int = 2) -> JiebaTokenizer:
        """Builds a vocabulary of the commonest words, with all characters of the texts behind them.

        Args:
            texts: the training texts.
            size: the largest number of entries.
            min_count: words rarer than this are left to their characters.
        """
        words: Counter[str] = Counter()
        for found in segment(list(texts)):
            words.update(found)
        characters: Counter[str] = Counter()
        for word, count in words.items():
            characters.update(dict.fromkeys(word, count))
        head = [PAD, UNK, MASK]
        known = dict.fromkeys(head)
        for word, count in [*words.most_common(), *characters.most_common()]:
            if len(known) >= size:
                break
            if count >= min_count or len(word) == 1:
                known.setdefault(word)
        return cls(list(known))


def read_vocab(path: Path, unique: bool = True) -> list[str]:
    """One token a line; the line number is the id.

    Args:
        path: the file; a byte order mark is left out.
        unique: refuse a token that stands there twice, as it must where line numbers are ids.

    Raises:
        InputError: missing, not UTF-8, or with a token twice.
    """
    if not path.is_file():
        raise InputError(f"{path}: no vocabulary here")
    try:
        vocab = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 ({error})") from error
    vocab = [token.removesuffix("\r") for token in vocab]
    while vocab and not vocab[-1]:
        vocab.pop()
    if unique and len(set(vocab)) != len(vocab):
        twice = next(token for token, count in Counter(vocab).items() if count > 1)
        raise InputError(f"{path}: the token {twice!r} stands there more than once")
    return vocab


def write_vocab(path: Path, vocab: Sequence[str]) -> None:
    """Writes a vocabulary, a token a line."""
    write_atomically(path, "\n".join(vocab) + "\n")


TOKENIZERS = {"wordpiece": WordPieceTokenizer, "jieba": JiebaTokenizer}


def load_tokenizer(folder: str | os.PathLike[str], kind: str) -> Tokenizer:
    """The tokenizer saved in a model folder.

    Raises:
        InputError: unknown kind, or a damaged vocabulary.
    """
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise InputError(f"{folder}: unknown tokenizer kind {kind!r}; expected one of {', '.join(TOKENIZERS)}")
    return TOKENIZERS[kind].load(folder)


@dataclass(frozen=True)
class InputEncoder:
    """Lays token ids out as a model reads them.

    Attributes:
        tokenizer: makes the ids.
        max_seq_length: the longest row, special tokens included.
        layout: ``bert`` (``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]`` in one row, with token types) or
            ``plain`` (no special tokens; a pair is two rows).
    """

    tokenizer: Tokenizer
    max_seq_length: int
    layout: str

    @property
    def pad_id(self) -> int:
        """The id that fills short rows up."""
        return self.tokenizer.token_id(PAD)

    def encode(self, texts: Sequence[Sequence[str]]) -> Columns:
        """Encodes texts.

        Args:
            texts: one list of strings for single sentences, two for pairs.
        """
        return self.arrange([self.tokenizer.encode(column, self.max_seq_length) for column in texts])

    def arrange(self, columns: Sequence[Ragged]) -> Columns:
        """Cuts token ids to length and adds special tokens.

        Args:
            columns: ids without special tokens, one :class:`Ragged` per text column.

        Returns:
            ``bert``: ``input_ids`` and ``token_type_ids``; ``plain``: ``input_ids`` and, for pairs,
            ``input_ids_b``.
        """
        if self.layout == "plain":
            names = ("input_ids", "input_ids_b")
            # An empty side would leave the LSTM without a step to run.
            unknown = self.tokenizer.token_id(UNK)
            return Columns(
                {
                    n: _fill_empty(c.cut(np.asarray(self.max_seq_length)), unknown)
                    for n, c in zip(names, columns, strict=False)
                }
            )
        return self._bert(columns)

    def _bert(self, columns: Sequence[Ragged]) -> Columns:
        cls, sep = self.tokenizer.token_id(CLS), self.tokenizer.token_id(SEP)
        if len(columns) == 1:
            pieces = [columns[0].cut(np.asarray(self.max_seq_length - 2))]
        else:
            kept = cut_longest_first(columns[0].lengths, columns[1].lengths, self.max_seq_length - 3)
            pieces = [column.cut(length) for column, length in zip(columns, kept, strict=True)]
        lengths = sum(piece.lengths for piece in pieces) + 1 + len(pieces)
        ids = Ragged.from_lengths(np.empty(int(lengths.sum()), np.int32), lengths)
        types = np.zeros(len(ids.values), np.int8)
        ids.values[ids.offsets[:-1]] = cls
        start = ids.offsets[:-1] + 1  # where the next text of each row begins
        for number, piece in enumerate(pieces):
            inside = np.repeat(start - piece.offsets[:-1], piece.lengths) + np.arange(len(piece.values))
            ids.values[inside] = piece.values
            ids.values[start + piece.lengths] = sep
            types[inside] = number
            types[start + piece.lengths] = number
            start = start + piece.lengths + 1
        return Columns({"input_ids": ids, "token_type_ids": Ragged(types, ids.offsets)})


def cut_longest_first(first: np.ndarray, second: np.ndarray, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths after taking one token at a time from the longer text, the second when they are equally long.

    Args:
        first: lengths, shape [rows].
        second: lengths, shape [rows].
        budget: the largest sum.
    """
    half = (budget + 1) // 2
    kept_first = np.where(first + second <= budget, first, np.minimum(first, np.maximum(half, budget - second)))
    return kept_first, np.minimum(second, budget - kept_first)


def _fill_empty(rows: Ragged, token: int) -> Ragged:
    empty = np.flatnonzero(rows.lengths == 0)
    if len(empty) == 0:
        return rows
    values = np.insert(rows.values, rows.offsets[empty], token)
    return Ragged.from_lengths(values, np.maximum(rows.lengths, 1))


def tokenizer_identity(tokenizer: Tokenizer) -> Mapping[str, object]:
    """What decides a tokenizer's output, for cache keys."""
    return {
        "kind": tokenizer.kind,
        "lowercase": getattr(tokenizer, "lowercase", None),
        "vocab": "\n".join(tokenizer.vocab),
    }


def tokenizer_checksum(tokenizer: Tokenizer) -> str:
    """Changes with a vocabulary and how it is used."""
    return hashlib.sha256(repr(sorted(tokenizer_identity(tokenizer).items())).encode()).hexdigest()
