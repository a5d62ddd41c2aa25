"""Which texts are most like a text, by the words that they share (cosine of TF-IDF vectors)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from console import progress

# Words in more texts than this, or than this share of all, hardly tell texts apart, and would compare almost each with
# almost each.
COMMON, COMMON_SHARE = 1000, 0.025
BLOCK = 1000
# Of a likeness: where two are equal but for rounding, the earlier text is the nearer one, on every machine.
DIGITS = 6


def nearest_texts(bags: Sequence[Collection[str]]) -> Iterator[np.ndarray]:
    """For every text, in turn, the numbers of the other texts that share a word with it, the most like it first.

    A word counts the more, the fewer texts have it, and not at all when it is common. Of 39,000 questions a text shares
    a word with some 1,500, and all of it takes seven seconds; a million takes about half an hour.

    Args:
        bags: the different words of each text.
    """
    from scipy.sparse import csr_matrix, diags

    if not bags:
        return
    numbers: dict[str, int] = {}
    # Sets come in another order in every process.
    columns = np.array([numbers.setdefault(w, len(numbers)) for bag in bags for w in sorted(bag)], np.int64)
    ends = np.cumsum([0, *map(len, bags)])
    having = np.bincount(columns, minlength=len(numbers))
    weights = np.where(having <= max(COMMON, COMMON_SHARE * len(bags)), np.log(len(bags) / having), 0.0)
    matrix = csr_matrix((weights[columns], columns, ends), shape=(len(bags), len(numbers)))
    matrix.eliminate_zeros()
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix = (diags(1 / np.where(lengths > 0, lengths, 1)) @ matrix).tocsr()
    turned = matrix.T.tocsr()
    for start in progress(range(0, len(bags), BLOCK), "nearest texts", unit=f"{BLOCK:,} texts"):
        likeness = (matrix[start : start + BLOCK] @ turned).tocsr()
        for row, (begin, end) in enumerate(zip(likeness.indptr[:-1], likeness.indptr[1:], strict=True)):
            others = likeness.indices[begin:end]
            others = others[np.lexsort((others, -likeness.data[begin:end].round(DIGITS)))]
            yield others[others != start + row]
