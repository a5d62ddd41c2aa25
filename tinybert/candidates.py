"""Which words may stand in the place of others: what a masked language model expects there, or the nearest vectors.

As published, a word of one piece is masked and the sentence, with the original behind it, is read by a masked language
model, whose best M pieces are its candidates; a word of several pieces takes the words with the nearest vectors. The
published loop asks for one word at a time; here whole batches of masked sentences of one length go through a static
graph that projects nothing but the masked places on the vocabulary, and what is known already is kept in parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.masked_lm import MaskedLM, largest
from data.batches import TOKENS_PER_BATCH, token_parts
from data.passes import in_parts
from data.ragged import Ragged
from data.replacement import Candidates, WordRows, is_replaceable
from data.store import Store, StoreDamaged, StoreWriter
from data.tokenization import MASK, SPECIAL_TOKENS, InputEncoder, WordPieceTokenizer
from files import scratch_folder
from models.folder import LoadedModel

PART_TOKENS = 1 << 20
NEIGHBOUR_BLOCK = 256


def nearest_words(
    vectors: Mapping[str, np.ndarray], asked: list[str], among: list[str], count: int
) -> dict[str, list[str]]:
    """The words with the largest cosine to each word, the nearest first, itself left out.

    Args:
        vectors: by word; words without one are asked in vain and never found.
        asked: words.
        among: words that may be found.
        count: how many are wanted.
    """
    among = [word for word in among if word in vectors]
    asked = [word for word in asked if word in vectors]
    if not among or not asked:
        return {}
    table = _normalised(np.stack([vectors[word] for word in among]))
    place = {word: i for i, word in enumerate(among)}
    found = {}
    for start in range(0, len(asked), NEIGHBOUR_BLOCK):
        block = asked[start : start + NEIGHBOUR_BLOCK]
        near = _normalised(np.stack([vectors[word] for word in block])) @ table.T
        for row, word in enumerate(block):
            if word in place:
                near[row, place[word]] = -np.inf
        best = largest(near, min(count, len(among)))
        for row, word in enumerate(block):
            found[word] = [among[i] for i in best[row] if near[row, i] > -np.inf]
    return found


def _normalised(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def word_vectors_from_pieces(words: list[str], pieces: Ragged, table: np.ndarray) -> dict[str, np.ndarray]:
    """Vectors of words from an embedding table: the mean over their pieces."""
    return {word: table[pieces[i]].mean(0) for i, word in enumerate(words) if len(pieces[i])}


def whole_words(tokenizer: WordPieceTokenizer) -> list[str]:
    """The entries of a vocabulary that may stand in the place of a word: no continuations, no stop words."""
    return [token for token in tokenizer.vocab if is_replaceable(token)]


def candidates_by_word(rows: WordRows, near: Mapping[str, list[str]], count: int) -> tuple[list[str], Candidates]:
    """Candidates that a word has wherever it stands.

    Args:
        rows: the rows.
        near: other words for some words, at most ``count`` each.
        count: M.

    Returns:
        The words of the rows with the new ones behind them, and the candidates.
    """
    ids = {word: i for i, word in enumerate(rows.words)}
    may, entry = rows.replaceable(), np.full(len(rows.words), -1, np.int32)
    table, counts = [], []
    for word, number in list(ids.items()):
        found = near.get(word, [])[:count] if may[number] else []
        if found:
            entry[number] = len(table)
            table.append([ids.setdefault(other, len(ids)) for other in found] + [0] * (count - len(found)))
            counts.append(len(found))
    made = Candidates(
        np.asarray(table, np.int32).reshape(-1, count),
        np.asarray(counts, np.int64),
        tuple(entry[column.compact().values] for column in rows.columns),
    )
    return list(ids), made


def with_masked_lm(
    rows: WordRows, words: list[str], known: Candidates, model: LoadedModel, count: int, cache: Path, parts: Path
) -> tuple[list[str], Candidates]:
    """Adds what a masked language model expects in the places of words of one piece.

    Args:
        rows: the rows.
        words: of the rows, and more that have been found already.
        known: candidates of words of several pieces.
        model: the masked language model; its tokenizer has made the rows.
        count: M.
        cache: the cache folder, for the static graph.
        parts: receives what is done, so that an interrupted pass goes on.

    Returns:
        All words, and all candidates.
    """
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, WordPieceTokenizer)
    one_piece = rows.replaceable() & (rows.pieces.lengths == 1)
    ids = {word: i for i, word in enumerate(words)}
    usable = np.asarray([token.isalpha() and token not in SPECIAL_TOKENS for token in tokenizer.vocab])
    tables, counts, slots = [known.table], [known.counts], []
    entries = len(known.table)
    with scratch_folder(cache / "graphs", "masked-lm") as folder:
        asked = _Asked(model, folder, count)
        for number, column in enumerate(rows.columns):
            column = column.compact()
            places = np.flatnonzero(one_piece[column.values])
            found = asked.all_of(rows, column, places, parts / f"column-{number}")
            kept = usable[found] & (found >= 0)
            # Word ids for piece ids, kept ones first.
            table, kept_counts = _as_words(found, kept, tokenizer.vocab, ids)
            slot = np.array(known.slots[number])
            slot[places] = entries + np.arange(len(places), dtype=np.int32)
            tables.append(table)
            counts.append(kept_counts)
            slots.append(slot)
            entries += len(places)
    made = Candidates(np.concatenate(tables), np.concatenate(counts), tuple(slots))
    return list(ids), made


def _as_words(
    found: np.ndarray, kept: np.ndarray, vocab: list[str], ids: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    number = np.zeros(len(vocab), np.int32)
    for piece in np.unique(found[kept]).tolist():
        number[piece] = ids.setdefault(vocab[piece], len(ids))
    first = np.argsort(~kept, axis=1, kind="stable")
    return np.take_along_axis(np.where(kept, number[np.maximum(found, 0)], 0), first, 1).astype(np.int32), kept.sum(1)


class _Asked:
    """A masked language model that is asked for many places at once."""

    def __init__(self, model: LoadedModel, folder: Path, count: int) -> None:
        self._model, self._asked, self._count = model, MaskedLM(model, folder), count
        shape = model.model.config
        self._encoder = InputEncoder(model.tokenizer, shape.max_position_embeddings, "bert")

    def all_of(self, rows: WordRows, column: Ragged, places: np.ndarray, parts: Path) -> np.ndarray:
        """Piece ids of the best M for every place, int32, [places, M]; -1 where the sentence was cut before it.

        Args:
            rows: give the pieces of words.
            column: word ids.
            places: numbers of words in the column's values.
            parts: receives what is done.
        """
        row_of = np.searchsorted(column.offsets, places, side="right") - 1
        lengths = rows.pieces.lengths[column.values]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        pieces = Ragged(rows.pieces.take(column.values).values, ends[column.offsets])
        read = self._encoder.arrange([pieces, pieces])
        # The sentence comes first: its place there is behind [CLS].
        at = 1 + ends[places] - ends[column.offsets[row_of]]
        first = (np.asarray(read["token_type_ids"].values) == 0).astype(np.int64)
        sums = np.concatenate([[0], np.cumsum(first)])
        own = sums[read["input_ids"].offsets[1:]] - sums[read["input_ids"].offsets[:-1]] - 1
        inside = np.flatnonzero(at < own[row_of])
        found = np.full((len(places), self._count), -1, np.int32)
        costs = read.costs[row_of]
        order = inside[np.argsort(-costs[inside], kind="stable")]
        mask_id = self._model.tokenizer.token_id(MASK)

        def known(path: Path, part: np.ndarray) -> None:
            found[part] = self._stored(path, part)

        def make(path: Path, part: np.ndarray) -> None:
            for batch in token_parts(costs, part, TOKENS_PER_BATCH):
                inputs = read.padded(row_of[batch], self._encoder.pad_id)
                numbers = np.arange(len(batch))
                inputs["input_ids"][numbers, at[batch]] = mask_id
                best = largest(self._asked.logits(inputs, numbers, at[batch]), self._count)
                found[batch, : best.shape[1]] = best
            with StoreWriter(path) as writer:
                writer.append(place=part, ids=found[part])

        in_parts(parts, "masked words", token_parts(costs, order, PART_TOKENS), len(order), known, make)
        return found

    def _stored(self, path: Path, part: np.ndarray) -> np.ndarray:
        store = Store(path)
        if set(store.columns) != {"place", "ids"} or not np.array_equal(np.asarray(store["place"]), part):
            raise StoreDamaged(f"{path}: other places")
        ids = np.asarray(store["ids"])
        vocabulary = len(self._model.tokenizer.vocab)
        if (
            ids.shape != (len(part), self._count)
            or ids.dtype.kind != "i"
            or not -1 <= ids.min() <= ids.max() < vocabulary
        ):
            raise StoreDamaged(f"{path}: these are no pieces of this vocabulary")
        return ids


def describe_source(masked_lm: str | None, vectors: str | None, teacher: str) -> str:
    """One line on who proposes words."""
    table = f"the nearest rows of {teacher}'s embedding table"
    single = (
        f"what {masked_lm} expects in their place" if masked_lm else f"{table} (no masked language model was named)"
    )
    several = f"the nearest vectors of {vectors}" if vectors else table
    return f"candidates: for words of one piece {single}; for words of several {several}"
