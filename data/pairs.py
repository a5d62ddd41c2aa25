"""Rows without labels beside the training rows: those of files, and new sentence pairs from known ones.

In new pairs texts meet other texts, near ones that share a rare word and random ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from console import InputError
from data.segmentation import jieba_words
from data.sources import Rows, join_rows, read_unlabeled
from data.streams import generator
from data.tasks import Task

# Words in more texts than this say nothing on what a text is about.
COMMON = 200
RAREST = 4


def with_unlabeled(
    train: Rows,
    task: Task,
    unlabeled_files: Sequence[str] = (),
    split_sentences: bool = False,
    repair_pairs: int = 0,
    seed: int = 0,
    skip_bad_rows: bool = False,
) -> Rows:
    """The training rows, behind them rows without labels, and pairs made anew from both.

    Args:
        train: the training rows.
        task: of them all.
        unlabeled_files: see :func:`data.sources.read_unlabeled`.
        split_sentences: cut the lines of .txt files into sentences.
        repair_pairs: new pairs for each text, see :func:`repaired_pairs`.
        seed: of the run.
        skip_bad_rows: leave out rows of the files that cannot be read, and count them.

    Raises:
        InputError: a file that cannot be read, or new pairs of single texts.
    """
    if repair_pairs and not task.is_pair:
        raise InputError(f"--repair_pairs: the rows of {task.name} are single texts")
    rows = train
    if unlabeled_files:
        rows = join_rows([rows, read_unlabeled(unlabeled_files, task, skip_bad_rows, split_sentences)])
    if repair_pairs:
        words = jieba_words if task.language == "zh" else str.split
        rows = join_rows([rows, repaired_pairs(rows, repair_pairs, seed, words)])
    return rows


def more_rows(train: Rows, rows: Rows) -> str:
    """One line on what :func:`with_unlabeled` added."""
    added, skipped = len(rows) - len(train), rows.skipped - train.skipped
    more = f", {added:,} of them without labels" if added else ""
    return f"{len(rows):,} rows{more}" + (f"; {skipped:,} bad rows without labels skipped" if skipped else "")


def repaired_pairs(rows: Rows, copies: int, seed: int, words: Callable[[str], Sequence[str]] = str.split) -> Rows:
    """Pairs that are not among ``rows``, without labels, for a teacher to label.

    Every text of both columns gets ``copies`` new partners: by turns one that shares one of its four rarest words,
    and any other. Near pairs are what a model of duplicates finds hard; random ones keep its answer to easy ones.

    Args:
        rows: pairs.
        copies: new pairs for each text; fewer come out where texts have no other partner left.
        seed: of the run.
        words: cuts a text into words.
    """
    first, second = rows.texts
    texts = list(dict.fromkeys([*first, *second]))
    number = {text: i for i, text in enumerate(texts)}
    taken = {frozenset((number[a], number[b])) for a, b in zip(first, second, strict=True)}
    bags = [set(map(str.lower, words(text))) for text in texts]
    having: dict[str, list[int]] = defaultdict(list)
    for i, bag in enumerate(bags):
        for word in bag:
            having[word].append(i)
    # Ties go by the word itself: sets come in another order in every process.
    rare = [
        sorted((w for w in bag if 1 < len(having[w]) <= COMMON), key=lambda w: (len(having[w]), w))[:RAREST]
        for bag in bags
    ]
    rng = generator(seed, "repaired pairs")
    found: tuple[list[str], list[str]] = ([], [])
    for copy in range(copies):
        for i, text in enumerate(texts):
            near = having[rare[i][rng.integers(len(rare[i]))]] if copy % 2 == 0 and rare[i] else range(len(texts))
            # One place less, and those from this text's own place on move up by one: never the text itself.
            place = int(rng.integers(len(near) - 1)) if len(near) > 1 else 0
            partner = near[place + (place >= near.index(i))] if len(near) > 1 else i
            pair = frozenset((i, partner))
            if partner == i or pair in taken:
                continue
            taken.add(pair)
            sides = (text, texts[partner]) if rng.random() < 0.5 else (texts[partner], text)
            for column, side in zip(found, sides, strict=True):
                column.append(side)
    return Rows(found, None)
