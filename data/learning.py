"""Which rows a network learns from beside the training rows: those of a transfer set, or rows without labels."""

from __future__ import annotations

import numpy as np

from data.pairs import Unlabeled, more_rows, with_unlabeled
from data.sources import Rows, TaskData
from data.tokenization import Tokenizer
from data.transfer import TransferSet, in_memory, transfer_set_from_path

NO_MORE = Unlabeled()


def rows_with_more(
    data: TaskData,
    tokenizer: Tokenizer | None,
    transfer_set: str | None = None,
    unlabeled: Unlabeled = NO_MORE,
    seed: int = 0,
    skip_bad_rows: bool = False,
) -> tuple[Rows, list[TransferSet], str]:
    """The training rows, and what further options name.

    Args:
        data: the training rows, and those that judge what learns.
        tokenizer: of the model that learns; None keeps texts, for models that read them in different ways.
        transfer_set: see :func:`data.transfer.transfer_set_from_path`; the options after it then add nothing.
        unlabeled: see :func:`data.pairs.with_unlabeled`, as those after it.
        seed: of the run.
        skip_bad_rows: leave out rows that cannot be read, and count them.

    Returns:
        The training rows with those without labels behind them; both, or the transfer set, as sets, the training rows
        first; and a line for the screen, empty where nothing was added.
    """
    train, sets = data.train, [in_memory(data.train, tokenizer)]
    if transfer_set:
        return train, [*sets, transfer_set_from_path(transfer_set, data.task, tokenizer, False, skip_bad_rows)], ""
    if not unlabeled:
        return train, sets, ""
    rows = with_unlabeled(data, unlabeled, seed, skip_bad_rows)
    sets.append(in_memory(rows.take(np.arange(len(train), len(rows))), tokenizer))
    return rows, sets, more_rows(train, rows)
