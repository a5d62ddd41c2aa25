"""Instances of masked language modelling from documents: windows of tokens, with next sentences and masks on demand.

Everything random of a document follows from the seed, the shard, the pass and the document's number, so that output
does not depend on workers or on where a run was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data.masking import Masking, choose_positions, hide, starts_of_words, word_starts
from data.ragged import Ragged
from data.segmentation import jieba_words
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


def tokenize(documents: Sequence[Sequence[str]], tokenizer: WordPieceTokenizer, language: str) -> list[Document]:
    """Tokens and words of documents.

    Args:
        documents: their lines.
        tokenizer: cuts words into pieces.
        language: ``zh`` takes jieba's words, ``en`` the words that the tokenizer cuts.
    """
    lines = [line for document in documents for line in document]
    if language == "zh":
        ids: dict[str, int] = {}
        words = Ragged.from_rows([ids.setdefault(word, len(ids)) for word in jieba_words(line)] for line in lines)
        pieces = tokenizer.encode_words(list(ids))
        tokens = pieces.take(words.values)
        ends = np.concatenate([[0], np.cumsum(pieces.lengths[words.values])])[words.offsets]
        encoded, starts = Ragged(tokens.values, ends), starts_of_words(words, pieces)
    else:
        encoded = tokenizer.encode(lines)
        starts = word_starts(tokenizer.vocab)[encoded.values]
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
    for number, document in enumerate(documents):
        rng = generator(seed, "instances", *place, number)
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
    ids, starts = [[cls], document.ids[start:stop], [sep]], [[True], document.starts[start:stop], [True]]
    types = [np.zeros(stop - start + 2, np.int8)]
    if second is not None and second[2] > second[1]:
        other, begin, end = second
        ids += [other.ids[begin:end], [sep]]
        starts += [other.starts[begin:end], [True]]
        types.append(np.ones(end - begin + 1, np.int8))
    return Instance(
        np.concatenate(ids).astype(np.int32), np.concatenate(types), np.concatenate(starts).astype(bool), next
    )


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

    def __call__(
        self, ids: np.ndarray, starts: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The row with hidden tokens replaced, their positions, and what stood there.

        Args:
            ids: token ids, [tokens].
            starts: whether a token begins a word, [tokens].
            rng: of the row.
        """
        positions = choose_positions(starts, ~self._is_special[ids], self._how, rng)
        return hide(ids, positions, self._mask_id, self._vocabulary, rng), positions, ids[positions]
