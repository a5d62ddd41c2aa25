"""What text says of a student before it learns: how common its pieces are, and what stands beside them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from console import InputError
from data.cooccurrence import neighbour_vectors, neighbours
from data.ragged import Ragged
from data.tokenization import SPECIAL_TOKENS, WordPieceTokenizer
from mlm_distill.corpus import tokenizer_checksum
from mlm_distill.folder import CORPUS, ShardFolder

# More tokens than this change no direction.
MOST_TOKENS = 50_000_000


class Counted:
    """A corpus of ``mlm_distill.create_pretraining_data``, counted.

    Args:
        folder: of the corpus.
        tokenizer: of the student.
        option: names the folder in errors.

    Attributes:
        tokens: how often each piece stands in it, int64, [pieces]; special tokens never.

    Raises:
        InputError: no such corpus, or one that was made with another vocabulary.
    """

    def __init__(self, folder: str | Path, tokenizer: WordPieceTokenizer, option: str = "--input_file") -> None:
        shards = ShardFolder(Path(folder), CORPUS, option)
        record = shards.finished()
        if tokenizer_checksum(tokenizer) != record["made_from"]["tokenizer"]:
            raise InputError(f"{option} {folder}: was made with another vocabulary than the student's")
        # Files come one after the other: of a long corpus every second, third, … shard.
        taken = shards.stores()[:: 1 + int(record["tokens"]) // MOST_TOKENS]
        special = np.isin(np.arange(len(tokenizer.vocab)), [tokenizer.vocab.index(token) for token in SPECIAL_TOKENS])
        self._rows = []
        self.tokens = np.zeros(len(tokenizer.vocab), np.int64)
        for store in taken:
            rows = store["input_ids"]
            assert isinstance(rows, Ragged)
            values = np.array(rows.values, np.int32)
            if "masked_ids" in store.columns:
                places, hidden = store["masked_positions"], store["masked_ids"]
                assert isinstance(places, Ragged) and isinstance(hidden, Ragged)
                # What stood there before it was hidden.
                values[np.repeat(rows.offsets[:-1], places.lengths) + places.values] = hidden.values
            values[special[values]] = -1
            self.tokens += np.bincount(values[values >= 0], minlength=len(self.tokens))
            self._rows.append(Ragged(values, rows.offsets))
        if not self.tokens.any():
            raise InputError(f"{option} {folder}: holds no text")

    def bias(self) -> np.ndarray:
        """The head's bias with which it answers, before it has learnt anything, as often as pieces occur.

        Returns:
            Logarithms of frequencies, one added to each count, less their mean; float32, [pieces].
        """
        found = np.log(self.tokens + 1.0)
        return (found - found.mean()).astype(np.float32)

    def embeddings(self, embeddings: np.ndarray, known: Collection[int], seed: int) -> tuple[np.ndarray, int]:
        """Embeddings of unknown pieces from what stands beside them.

        Vectors of all pieces (:func:`data.cooccurrence.neighbour_vectors`) are turned as a whole so that those of known
        pieces come to lie as near to their embeddings as they can (Schönemann 1966), and made as long.

        Args:
            embeddings: float32, [pieces, hidden].
            known: which of them are right already.
            seed: of the run.

        Returns:
            The same, with other rows for unknown pieces that occur; and how many those are.

        Raises:
            InputError: a vocabulary that is smaller than an embedding is wide, or without known pieces that occur.
        """
        from scipy.linalg import orthogonal_procrustes

        if len(embeddings) <= embeddings.shape[1]:
            raise InputError(
                f"--input_file: {len(embeddings):,} pieces are too few for embeddings {embeddings.shape[1]} wide from "
                "their neighbours"
            )
        vectors = neighbour_vectors(neighbours(self._rows, len(embeddings)), embeddings.shape[1], seed)
        there, is_known = np.linalg.norm(vectors, axis=1) > 0, np.zeros(len(embeddings), bool)
        is_known[list(known)] = True
        anchors = there & is_known
        if not anchors.any():
            raise InputError("--input_file: no piece that the teacher knows stands in the text")
        middle, target = vectors[anchors].mean(0), embeddings[anchors].mean(0)
        centred, wanted = vectors[anchors] - middle, embeddings[anchors] - target
        turn, _ = orthogonal_procrustes(centred, wanted)
        scale = np.linalg.norm(wanted) / max(float(np.linalg.norm(centred)), 1e-12)
        new = there & ~is_known
        found = embeddings.copy()
        found[new] = (vectors[new] - middle) @ turn * scale + target
        return found, int(new.sum())
