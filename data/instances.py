"""Instances of masked language modelling from documents: windows of tokens, with next sentences and masks on demand.

Everything random of a shard follows from the seed and its number, so that output does not depend on workers or on where
a run was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

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
from data.streams import generator
from data.tokenization import CLS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK, WordPieceTokenizer

# A window shorter than this teaches nothing.
FEWEST = 2
NO_NEXT = -1


@dataclass(frozen=True)
class Windows:
    """How documents are cut.

    Attributes:
        length: tokens of an instance, special tokens included.
        stride: tokens from the beginning of a full window to that of the next one.
        short_prob: probability that a window is shorter, of any length.
        random_next: half of the instances get a second part from another document, and say so; the others, like all
            without it, go on in their own document.
    """

    length: int = 512
    stride: int = 256
    short_prob: float = 0.1
    random_next: bool = False


@dataclass(frozen=True)
class Document:
    """Tokens of a document.

    Attributes:
        ids: token ids, int32, [tokens].
        starts: whether a token begins a word, bool, [tokens].
        lines: where its lines begin, int64, rising, the first is 0.
    """

    ids: np.ndarray
    starts: np.ndarray
    lines: np.ndarray


@dataclass(frozen=True)
class Instance:
    """A sequence to learn from, special tokens included.

    Attributes:
        ids: token ids, int32, [tokens].
        types: 0 for the first part, 1 for the second, int8, [tokens].
        starts: whether a token begins a word, bool, [tokens].
        next: 1 where the second part is random, 0 where it follows, -1 where that is not asked.
    """

    ids: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    next: int


class ReferenceMisfit(ValueError):
    """A reference does not fit its line.

    Attributes:
        row: of the line, from 0.
    """

    def __init__(self, row: int, fault: str) -> None:
        super().__init__(fault)
        self.row = row


# Cuts lines into words.
Words = Callable[[Sequence[str]], Iterable[Sequence[str]]]


def tokenize(
    documents: Sequence[Sequence[str]],
    tokenizer: WordPieceTokenizer,
    words: Words | None = None,
    references: Sequence[Sequence[int]] | None = None,
) -> list[Document]:
    """Tokens and words of documents.

    Args:
        documents: their lines.
        tokenizer: cuts words into pieces.
        words: cuts lines into words; when left out a word is what the tokenizer cuts into pieces.
        references: instead of words, for every line of the documents the positions where words go on, see
            :func:`data.masking.reference_line`.

    Raises:
        ReferenceMisfit: a reference does not fit its line.
    """
    lines = [line for document in documents for line in document]
    if words is not None:
        encoded, starts = _by_words(lines, tokenizer, words)
    else:
        encoded = tokenizer.encode(lines)
        starts = word_starts(tokenizer.vocab)[encoded.values]
        if references is not None:
            lengths = encoded.lengths.tolist()
            told = [np.empty(0, bool)]
            for row, (positions, length) in enumerate(zip(references, lengths, strict=True)):
                try:
                    told.append(starts_from_reference(positions, length))
                except ValueError as error:
                    raise ReferenceMisfit(row, str(error)) from error
            starts &= np.concatenate(told)
    found, first = [], 0
    for document in documents:
        offsets = encoded.offsets[first : first + len(document) + 1]
        inside = slice(int(offsets[0]), int(offsets[-1]))
        begins = np.unique(offsets[:-1] - offsets[0])
        found.append(
            Document(encoded.values[inside], starts[inside], begins[begins < max(1, inside.stop - inside.start)])
        )
        first += len(document)
    return [document for document in found if len(document.ids)]


def _by_words(lines: Sequence[str], tokenizer: WordPieceTokenizer, words: Words) -> tuple[Ragged, np.ndarray]:
    """Tokens of lines, and which of them begin a word."""
    ids: dict[str, int] = {}
    cut = Ragged.from_rows([ids.setdefault(word, len(ids)) for word in line] for line in words(lines))
    pieces = tokenizer.encode_words(list(ids))
    tokens = pieces.take(cut.values)
    ends = np.concatenate([[0], np.cumsum(pieces.lengths[cut.values])])[cut.offsets]
    return Ragged(tokens.values, ends), starts_of_words(cut, pieces)


def references_of(lines: Sequence[str], tokenizer: WordPieceTokenizer, words: Words) -> list[list[int]]:
    """MiniRBT's whole-word reference of lines: positions where words go on; see :func:`data.masking.reference_line`.

    Positions are those of the tokens of the whole line, which are those of its words one by one but where a segmenter
    cuts within letters; of such a line the tokenizer's own words are told.
    """
    whole = tokenizer.encode(lines)
    cut, starts = _by_words(lines, tokenizer, words)
    own = word_starts(tokenizer.vocab)
    found = []
    for row in range(len(lines)):
        ids = whole[row]
        same = np.array_equal(ids, cut[row])
        found.append(reference_line(starts[cut.offsets[row] : cut.offsets[row + 1]] if same else own[ids]))
    return found


def held_out(
    documents: Sequence[Document], share: float, rng: np.random.Generator
) -> tuple[list[Document], list[Document]]:
    """Parts documents into those to learn from and those on which that is judged.

    Args:
        documents: of a shard.
        share: of them that is held out, one at least; of a single one its last lines.
        rng: of the shard.
    """
    if not share or not documents:
        return list(documents), []
    if len(documents) > 1:
        count = min(math.ceil(share * len(documents)), len(documents) - 1)
        kept = set(rng.permutation(len(documents))[:count].tolist())
        return (
            [document for number, document in enumerate(documents) if number not in kept],
            [document for number, document in enumerate(documents) if number in kept],
        )
    (only,) = documents
    if len(only.lines) < 2:
        return [only], []
    cut = int(only.lines[len(only.lines) - min(math.ceil(share * len(only.lines)), len(only.lines) - 1)])
    behind = only.lines >= cut
    return (
        [Document(only.ids[:cut], only.starts[:cut], only.lines[~behind])],
        [Document(only.ids[cut:], only.starts[cut:], only.lines[behind] - cut)],
    )


def instances(
    documents: Sequence[Document], how: Windows, tokenizer: WordPieceTokenizer, seed: int, *place: int
) -> Iterator[Instance]:
    """The instances of a shard's documents.

    Args:
        documents: of the shard; random next parts come from them.
        how: the windows.
        tokenizer: gives the special tokens.
        seed: of the corpus.
        place: shard and pass.
    """
    cls, sep = tokenizer.token_id(CLS), tokenizer.token_id(SEP)
    room = how.length - (3 if how.random_next else 2)
    rng = generator(seed, "instances", *place)
    for number, document in enumerate(documents):
        tokens, start = len(document.ids), 0
        while tokens - start >= FEWEST or (start == 0 and tokens):
            target = room
            if rng.random() < how.short_prob:
                target = int(rng.integers(min(FEWEST, room), room, endpoint=True))
            stop = min(start + target, tokens)
            step = how.stride if stop < tokens else tokens - start
            if not how.random_next:
                yield _joined(document, start, stop, None, cls, sep, NO_NEXT)
            else:
                middle = _middle(document, start, stop, rng)
                others = len(documents) - 1
                if others and (rng.random() < 0.5 or middle == stop):
                    other = documents[(number + 1 + int(rng.integers(others))) % len(documents)]
                    begin = int(rng.integers(len(other.ids)))
                    second = other, begin, min(len(other.ids), begin + max(1, target - (middle - start)))
                    yield _joined(document, start, middle, second, cls, sep, 1)
                    # What the window held behind its first part comes again.
                    step = min(step, max(1, middle - start))
                else:
                    yield _joined(document, start, middle, (document, middle, stop), cls, sep, 0)
            start += max(1, min(step, stop - start))


def _middle(document: Document, start: int, stop: int, rng: np.random.Generator) -> int:
    """Where the second part of a window begins: at the beginning of a line, or anywhere where there is none."""
    if stop - start < 2:
        return stop
    lines = document.lines[(document.lines > start) & (document.lines < stop)]
    return int(lines[rng.integers(len(lines))]) if len(lines) else int(rng.integers(start + 1, stop))


def _joined(
    document: Document, start: int, stop: int, second: tuple[Document, int, int] | None, cls: int, sep: int, next: int
) -> Instance:
    parts = [(document, start, stop)]
    if second is not None and second[2] > second[1]:
        parts.append(second)
    length = 1 + sum(end - begin + 1 for _, begin, end in parts)
    ids, types, starts = np.empty(length, np.int32), np.zeros(length, np.int8), np.ones(length, bool)
    ids[0], place = cls, 1
    for number, (source, begin, end) in enumerate(parts):
        behind = place + end - begin
        ids[place:behind], starts[place:behind] = source.ids[begin:end], source.starts[begin:end]
        ids[behind] = sep
        types[place : behind + 1] = number
        place = behind + 1
    return Instance(ids, types, starts, next)


class Masker:
    """Hides tokens of instances.

    Args:
        how: the share.
        tokenizer: gives mask, special tokens and vocabulary.
    """

    def __init__(self, how: Masking, tokenizer: WordPieceTokenizer) -> None:
        self._how, self._mask_id = how, tokenizer.token_id(MASK)
        special = {tokenizer.token_id(token) for token in SPECIAL_TOKENS}
        self._is_special = np.zeros(len(tokenizer.vocab), bool)
        # What is unknown cannot be learnt, but says that something stands there: only the others are special.
        self._is_special[[i for i in special if i != tokenizer.token_id(UNK)]] = True
        unused = [token.startswith("[unused") for token in tokenizer.vocab]
        known = ~(self._is_special | np.asarray(unused, bool))
        known[tokenizer.token_id(UNK)] = False
        self._vocabulary = np.flatnonzero(known)
        self.pad_id = tokenizer.token_id(PAD)

    def __call__(self, ids: Ragged, starts: Ragged, rng: np.random.Generator) -> tuple[Ragged, Ragged, Ragged]:
        """Rows with hidden tokens replaced, their positions, and what stood there.

        Args:
            ids: token ids.
            starts: whether a token begins a word.
            rng: of the rows.
        """
        ids, starts = ids.compact(), starts.compact()
        allowed = ~self._is_special[ids.values]
        places = choose_positions(starts.values.astype(bool), allowed, self._how, rng, ids.offsets)
        hidden = hide(ids.values, places, self._mask_id, self._vocabulary, rng)
        rows = np.searchsorted(ids.offsets, places, side="right") - 1
        lengths = np.bincount(rows, minlength=len(ids))
        return (
            Ragged(hidden, ids.offsets),
            Ragged.from_lengths((places - ids.offsets[rows]).astype(np.int32), lengths),
            Ragged.from_lengths(ids.values[places], lengths),
        )
