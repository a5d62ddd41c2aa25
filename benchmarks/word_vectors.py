"""Word vectors from raw text: positive pointwise mutual information within a window, and its singular vectors.

    python -m benchmarks.word_vectors --output_file vectors.vec reviews_*.txt

For measurements where no published vectors can be had. Texts are cut by jieba when they are Chinese.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import itertools
import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from console import InputError, run_script, say

if TYPE_CHECKING:
    import numpy as np

# Elements then have a standard deviation of about 0.23, as an LSTM learns from well.
LENGTH = 4.0
MIN_COUNT = 5


def main(argv: list[str]) -> None:
    """Reads texts and writes vectors in word2vec's text format."""
    from data.sources import read_lines

    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("files", nargs="+", help="text, a document a line")
    made.add_argument("--output_file", required=True)
    made.add_argument("--language", choices=("en", "zh"), default="zh")
    made.add_argument("--size", type=int, default=300, help="width of a vector")
    made.add_argument("--min_count", type=int, default=MIN_COUNT, help="rarer words have no vector")
    arguments = made.parse_args(argv)
    lines = [line for name in arguments.files for line in read_lines(name).texts[0]]
    words, vectors = word_vectors(lines, arguments.language, arguments.size, arguments.min_count)
    write_vectors(arguments.output_file, words, vectors)
    say(f"{arguments.output_file}: {len(words):,} words of {len(lines):,} lines")


def word_vectors(
    lines: Sequence[str], language: str, size: int, min_count: int = MIN_COUNT, seed: int = 0
) -> tuple[list[str], np.ndarray]:
    """Vectors of the words in some texts.

    Args:
        lines: a document each; contexts do not reach over their ends.
        language: ``zh`` is cut by jieba, anything else at white space.
        size: width of a vector; all have the length :data:`LENGTH`.
        min_count: rarer words are left out, of contexts too.
        seed: where the decomposition starts.

    Returns:
        The words, the commonest first, and their vectors, float32 [words, size].
    """
    from data.cooccurrence import neighbour_vectors, neighbours
    from data.ragged import Ragged
    from data.segmentation import segment

    documents = list(segment(lines)) if language == "zh" else [line.lower().split() for line in lines]
    counts = Counter(itertools.chain.from_iterable(documents))
    words = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
    if len(words) <= size:
        raise InputError(f"{len(words):,} words occur {min_count} times: too few for vectors of {size}")
    ids = {word: number for number, word in enumerate(words)}
    rows = Ragged.from_rows([ids.get(word, -1) for word in found] for found in documents)
    return words, LENGTH * neighbour_vectors(neighbours([rows], len(words)), size, seed)


def write_vectors(path: str | os.PathLike[str], words: Sequence[str], vectors: np.ndarray) -> None:
    """Writes word2vec's text format: a line with both sizes, then a word and its numbers per line."""
    from files import new_file

    with new_file(path) as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n")
        for word, vector in zip(words, vectors, strict=True):
            file.write(f"{word} {' '.join(f'{value:.5g}' for value in vector)}\n")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
