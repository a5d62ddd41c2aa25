"""TinyBERT's augmentation (Jiao et al. 2019, algorithm 1): words replaced by others that fit, given their candidates.

Words are those that BERT's tokenizer cuts into pieces. Who proposes candidates is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.ragged import Ragged
from data.tokenization import WordPieceTokenizer

# Words that say how others belong together. They stay: another one in their place makes another sentence.
STOP_LIST = """
a an the this that these those some any each every either neither no none all both few many much more most other
another such own same i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it
its itself we us our ours ourselves they them their theirs themselves who whom whose which what where when why how am is
are was were be been being do does did doing done have has had having will would shall should can could may might must
ought not nor never and or but if then else than because as until while although though since unless whether so yet of
at by for with about against between among into onto through during before after above below over under to from up down
in out on off again further once here there very too just only also even still almost quite rather ever s t d m o re ve
ll don doesn didn isn aren wasn weren hasn haven hadn won wouldn shan shouldn couldn mightn mustn needn ain ma let
的 了 是 在 和 与 及 或 而 但 也 都 就 还 又 很 太 更 最 不 没 无 我 你 他 她 它 们
这 那 哪 谁 么 吗 呢 吧 啊 把 被 对 从 到 为 以 于 之 其 所 着 过 地 得 一 个 有
"""
STOP_WORDS = frozenset(STOP_LIST.split())


@dataclass(frozen=True)
class WordRows:
    """Rows as words, and the pieces of every word.

    Attributes:
        words: the different words.
        columns: word ids, one :class:`Ragged` per text column.
        pieces: token ids of every word.
    """

    words: list[str]
    columns: tuple[Ragged, ...]
    pieces: Ragged

    def replaceable(self) -> np.ndarray:
        """Whether each word may be replaced: letters alone, and no stop word."""
        return np.asarray([is_replaceable(word) for word in self.words], bool)


def is_replaceable(word: str) -> bool:
    """Whether a word says something of its own."""
    return word.isalpha() and word.lower() not in STOP_WORDS


def word_rows(texts: Sequence[Sequence[str]], tokenizer: WordPieceTokenizer) -> WordRows:
    """Cuts texts into words; equal words are one."""
    ids: dict[str, int] = {}
    columns = tuple(
        Ragged.from_rows([ids.setdefault(word, len(ids)) for word in tokenizer.bert_words(text)] for text in column)
        for column in texts
    )
    words = list(ids)
    return WordRows(words, columns, tokenizer.encode_words(words))


@dataclass(frozen=True)
class Candidates:
    """What may stand in the place of a word.

    Attributes:
        table: word ids, int32, [entries, M]; the first ``counts`` of an entry count.
        counts: int64, [entries].
        slots: for every word of a text column the entry that it draws from, int32, -1 where it stays; one array per
            text column, laid out as its values.
    """

    table: np.ndarray
    counts: np.ndarray
    slots: tuple[np.ndarray, ...]


def replaced_copy(
    column: Ragged, slots: np.ndarray, candidates: Candidates, p: float, rng: np.random.Generator
) -> Ragged:
    """One copy of rows, in which every word that has candidates is replaced by one of them with probability ``p``.

    Args:
        column: word ids.
        slots: of these rows, laid out as the column's values.
        candidates: of all rows.
        p: the probability.
        rng: of this copy and block.
    """
    column = column.compact()
    drawn, place = rng.random(len(column.values), np.float32), rng.random(len(column.values))
    replaced = np.flatnonzero((slots >= 0) & (drawn < p))
    replaced = replaced[candidates.counts[slots[replaced]] > 0]
    entries = slots[replaced]
    values = np.array(column.values)
    # A draw below 1 times a count is below the count.
    values[replaced] = candidates.table[entries, (place[replaced] * candidates.counts[entries]).astype(np.int64)]
    return Ragged(values, column.offsets)
