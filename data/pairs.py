"""Rows without labels beside the training rows: those of files, and new sentence pairs from known ones.

In new pairs texts meet other texts: by turns one that shares a rare word and a random one, or those most like them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from console import InputError
from data.nearest import nearest_texts
from data.segmentation import jieba_words
from data.sources import Rows, TaskData, join_rows, read_unlabeled
from data.streams import generator

# Words in more texts than this say nothing on what a text is about.
COMMON = 200
RAREST = 4
RARE_WORD, NEAREST = "rare_word", "nearest"
REPAIRS = (RARE_WORD, NEAREST)
ENGLISH_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Unlabeled:
    """Which rows without labels are learnt from.

    Attributes:
        files: see :func:`data.sources.read_unlabeled`.
        split_sentences: cut the lines of .txt files into sentences.
        repair_pairs: new pairs for each text, see :func:`repaired_pairs`.
        repair_with: which texts they are with.
    """

    files: Sequence[str] = ()
    split_sentences: bool = False
    repair_pairs: int = 0
    repair_with: str = RARE_WORD

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.files or self.repair_pairs)


def with_unlabeled(data: TaskData, unlabeled: Unlabeled, seed: int = 0, skip_bad_rows: bool = False) -> Rows:
    """The training rows, behind them rows without labels, and pairs made anew from both.

    Args:
        data: the training rows, and those that judge what learns, which are never made.
        unlabeled: says which rows.
        seed: of the run.
        skip_bad_rows: leave out rows of the files that cannot be read, and count them.

    Raises:
        InputError: a file that cannot be read, new pairs of single texts, or of texts that have no partner.
    """
    task, wanted = data.task, unlabeled.repair_pairs
    if wanted and not task.is_pair:
        raise InputError(f"--repair_pairs: the rows of {task.name} are single texts")
    rows = data.train
    if unlabeled.files:
        rows = join_rows([rows, read_unlabeled(unlabeled.files, task, skip_bad_rows, unlabeled.split_sentences)])
    if wanted:
        words: Callable[[str], Sequence[str]] = str.split
        if task.language == "zh":
            words = jieba_words
        elif unlabeled.repair_with == NEAREST:
            # Without the marks that end a sentence, which would hide that its last word is another's.
            words = ENGLISH_WORDS.findall
        judging = [data.validation, data.dev, *data.further_dev.values()]
        made = repaired_pairs(rows, wanted, seed, words, unlabeled.repair_with, judging)
        if not len(made):
            raise InputError(f"--repair_pairs {wanted}: no text has another one to meet; leave the option out")
        rows = join_rows([rows, made])
    return rows


def more_rows(train: Rows, rows: Rows) -> str:
    """One line on what :func:`with_unlabeled` added."""
    added, skipped = len(rows) - len(train), rows.skipped - train.skipped
    more = f", {added:,} of them without labels" if added else ""
    return f"{len(rows):,} rows{more}" + (f"; {skipped:,} bad rows without labels skipped" if skipped else "")


def repaired_pairs(
    rows: Rows,
    copies: int,
    seed: int,
    words: Callable[[str], Sequence[str]] = str.split,
    repair_with: str = RARE_WORD,
    judging: Sequence[Rows] = (),
) -> Rows:
    """Pairs that are not among ``rows``, without labels, for a teacher to label.

    Every text of both columns gets ``copies`` new partners. With ``rare_word`` that is by turns one that shares one of
    its four rarest words, and any other: near pairs are what a model of duplicates finds hard, random ones keep its
    answer to easy ones. With ``nearest`` it is the texts most like it (:func:`data.nearest.nearest_texts`), which a
    teacher is as much in doubt about as about the pairs of a task that people collected (Thakur et al. 2020, arXiv
    2010.08240, find partners so for a faster student).

    Args:
        rows: pairs.
        copies: new pairs for each text; fewer come out where texts have no other partner left, or share no word.
        seed: of the run.
        words: cuts a text into words.
        repair_with: ``rare_word`` or ``nearest``.
        judging: pairs that choose or judge what learns, and do not come out either.
    """
    first, second = rows.texts
    texts = list(dict.fromkeys([*first, *second]))
    number = {text: i for i, text in enumerate(texts)}

    def known(pairs: Rows) -> set[frozenset[int]]:
        return {frozenset((number[a], number[b])) for a, b in zip(*pairs.texts, strict=True) if {a, b} <= number.keys()}

    taken, never = known(rows), set().union(*map(known, judging))
    bags = [set(map(str.lower, words(text))) for text in texts]
    rng = generator(seed, "repaired pairs")
    if repair_with == NEAREST:
        taken |= never
        wanted = _nearest(bags, copies, taken)
    else:
        wanted = _rare_and_random(bags, copies, rng)
    found: tuple[list[str], list[str]] = ([], [])
    for i, partner in wanted:
        pair = frozenset((i, partner))
        if partner == i or pair in taken:
            continue
        taken.add(pair)
        sides = (texts[i], texts[partner]) if rng.random() < 0.5 else (texts[partner], texts[i])
        # After the draw, so that all others stay as they were without such rows.
        if pair not in never:
            for column, side in zip(found, sides, strict=True):
                column.append(side)
    return Rows(found, None)


def _rare_and_random(bags: Sequence[set[str]], copies: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    having: dict[str, list[int]] = defaultdict(list)
    for i, bag in enumerate(bags):
        for word in bag:
            having[word].append(i)
    # Ties go by the word itself: sets come in another order in every process.
    rare = [
        sorted((w for w in bag if 1 < len(having[w]) <= COMMON), key=lambda w: (len(having[w]), w))[:RAREST]
        for bag in bags
    ]
    for copy in range(copies):
        for i in range(len(bags)):
            near = having[rare[i][rng.integers(len(rare[i]))]] if copy % 2 == 0 and rare[i] else range(len(bags))
            # One place less, and those from this text's own place on move up by one: never the text itself.
            place = int(rng.integers(len(near) - 1)) if len(near) > 1 else 0
            yield i, near[place + (place >= near.index(i))] if len(near) > 1 else i


def _nearest(bags: Sequence[set[str]], copies: int, taken: set[frozenset[int]]) -> Iterator[tuple[int, int]]:
    for i, others in enumerate(nearest_texts(bags)):
        # What was met as another's partner is taken by now.
        free = (int(other) for other in others if frozenset((i, int(other))) not in taken)
        yield from ((i, other) for _, other in zip(range(copies), free, strict=False))
