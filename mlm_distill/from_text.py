"""What text says of a student before it learns: how common its pieces are, and what stands beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from console import InputError
from data.cooccurrence import neighbour_vectors, neighbours
from data.ragged import Ragged
from data.store import Store
from data.streams import generator
from data.tokenization import CLS, MASK, PAD, SEP, UNK, WordPieceTokenizer, tokenizer_checksum
from mlm_distill.folder import CORPUS, ShardFolder
from models.embeddings import spread_alike

# More tokens than this change no direction.
MOST_TOKENS = 50_000_000
# Rows that are read at a time.
BLOCK = 20_000


class Counted:
    """A corpus of ``mlm_distill.create_pretraining_data``, counted; of a long one a part, spread over all of it.

    Args:
        folder: of the corpus.
        tokenizer: of the student.
        option: names the folder in errors.

    Attributes:
        tokens: how often each piece stands in what was counted, int64, [pieces]. Special tokens count as never, but for
            the unknown one: it stands for words, and is hidden as they are.

    Raises:
        InputError: no such corpus, a damaged one, or one that was made with another vocabulary.
    """

    def __init__(self, folder: str | Path, tokenizer: WordPieceTokenizer, option: str = "--input_file") -> None:
        shards = ShardFolder(Path(folder), CORPUS, option)
        record = shards.finished()
        if tokenizer_checksum(tokenizer) != record["made_from"]["tokenizer"]:
            raise InputError(
                f"{option} {folder}: was made with another vocabulary than the student's, or --do_lower_case differs"
            )
        self._stores = shards.stores(verify=True)
        self._step = max(1, -(-int(record["tokens"]) // MOST_TOKENS))
        self._pieces = len(tokenizer.vocab)
        self._wordless = [tokenizer.vocab.index(token) for token in (PAD, CLS, SEP, MASK)]
        self._unknown = tokenizer.vocab.index(UNK)
        self.tokens = np.zeros(self._pieces, np.int64)
        for rows in self._blocks():
            self.tokens += np.bincount(rows.values, minlength=self._pieces)
        self.tokens[self._wordless] = 0
        if not self.tokens.any():
            raise InputError(f"{option} {folder}: holds no text")

    def _blocks(self) -> Iterator[Ragged]:
        """Rows of token ids, int32, as they were before anything was hidden."""
        for store in self._stores:
            rows, places, hidden = (_column(store, name) for name in ("input_ids", "masked_positions", "masked_ids"))
            assert rows is not None
            for start in range(0, len(rows), BLOCK * self._step):
                found = rows.slice(start, min(start + BLOCK, len(rows))).compact()
                values = np.array(found.values, np.int32)
                if places is not None and hidden is not None:
                    where = places.slice(start, start + len(found)).compact()
                    taken = hidden.slice(start, start + len(found)).compact()
                    values[np.repeat(found.offsets[:-1], where.lengths) + where.values] = taken.values
                yield Ragged(values, found.offsets)

    def _words(self) -> Iterator[Ragged]:
        """The same, special tokens as -1."""
        special = np.zeros(self._pieces, bool)
        special[[*self._wordless, self._unknown]] = True
        for rows in self._blocks():
            yield Ragged(np.where(special[rows.values], np.int32(-1), rows.values), rows.offsets)

    def bias(self, size: int) -> np.ndarray:
        """The head's bias with which it answers, before it has learnt anything, as often as pieces occur.

        Args:
            size: of the model's vocabulary, which may be padded.

        Returns:
            Logarithms of frequencies, one added to each count, less their mean; float32, [size].
        """
        found = np.log(np.pad(self.tokens, (0, size - self._pieces)) + 1.0)
        return (found - found.mean()).astype(np.float32)

    def embeddings(self, embeddings: np.ndarray, known: Collection[int], seed: int) -> tuple[np.ndarray, int]:
        """Embeddings of unknown pieces from what stands beside them.

        Vectors of all pieces (:func:`data.cooccurrence.neighbour_vectors`) are turned as a whole so that those of known
        pieces come to lie as near to their embeddings as they can (Schönemann 1966), and spread as embeddings are.

        Args:
            embeddings: float32, [pieces, hidden].
            known: which of them are right already; the others are spread as they should be.
            seed: of the run.

        Returns:
            The same, with other rows for unknown pieces that occur; and how many those are.
        """
        from scipy.linalg import orthogonal_procrustes

        pieces, width = embeddings.shape
        # As many as the decomposition can give; the rest of a small vocabulary's directions say nothing.
        given = min(width, pieces - 1)
        rng = generator(seed, "initialisation", "neighbours")
        vectors = np.zeros((pieces, width), np.float32)
        vectors[:, :given] = neighbour_vectors(neighbours(self._words(), pieces), given, rng)
        there, is_known = vectors.any(1), np.zeros(pieces, bool)
        is_known[list(known)] = True
        anchors, new = there & is_known, there & ~is_known
        found = embeddings.copy()
        if new.sum() < 2:
            # One alone is spread over nothing.
            return found, 0
        if anchors.any():
            turn, _ = orthogonal_procrustes(_centred(vectors[anchors]), _centred(embeddings[anchors]))
            vectors = vectors @ turn
        # As wide in every direction as embeddings of words are: layers find positions in those that words leave free.
        found[new] = spread_alike(vectors[there], embeddings)[new[there]]
        return found, int(new.sum())


def _column(store: Store, name: str) -> Ragged | None:
    found = store[name] if name in store.columns else None
    assert found is None or isinstance(found, Ragged)
    return found


def _centred(rows: np.ndarray) -> np.ndarray:
    return rows - rows.mean(0)
