"""Which rows a network learns from beside the training rows: those of a transfer set, or rows without labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.pairs import more_rows, with_unlabeled
from data.sources import Rows
from data.tasks import Task
from data.tokenization import Tokenizer
from data.transfer import TransferSet, in_memory, transfer_set_from_path


def rows_with_more(
    train: Rows,
    task: Task,
    tokenizer: Tokenizer | None,
    transfer_set: str | None = None,
    unlabeled_files: Sequence[str] = (),
    split_sentences: bool = False,
    repair_pairs: int = 0,
    seed: int = 0,
    skip_bad_rows: bool = False,
) -> tuple[Rows, list[TransferSet], str]:
    """The training rows, and what further options name.

    Args:
        train: the training rows.
        task: of them.
        tokenizer: of the model that learns; None keeps texts, for models that read them in different ways.
        transfer_set: see :func:`data.transfer.transfer_set_from_path`; the options after it then add nothing.
        unlabeled_files: see :func:`data.pairs.with_unlabeled`, as those after it.
        split_sentences: cut the lines of .txt files into sentences.
        repair_pairs: new pairs for each text.
        seed: of the run.
        skip_bad_rows: leave out rows that cannot be read, and count them.

    Returns:
        The training rows with those without labels behind them; both, or the transfer set, as sets, the training rows
        first; and a line for the screen, empty where nothing was added.
    """
    sets = [in_memory(train, tokenizer)]
    if transfer_set:
        return train, [*sets, transfer_set_from_path(transfer_set, task, tokenizer, False, skip_bad_rows)], ""
    if not unlabeled_files and not repair_pairs:
        return train, sets, ""
    rows = with_unlabeled(train, task, unlabeled_files, split_sentences, repair_pairs, seed, skip_bad_rows)
    sets.append(in_memory(rows.take(np.arange(len(train), len(rows))), tokenizer))
    return rows, sets, more_rows(train, rows)
