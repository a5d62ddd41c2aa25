"""The two ends of answers: what a model says of every token, and how good the answers are that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from core.answers import score
from core.metrics import Diverged
from data.batches import Batch, Batches
from data.columns import Column
from data.questions import Answer, Encoded, Questions, best_answers
from data.ragged import Ragged

ENDS = ("start_logits", "end_logits")
# From a batch to the logits of both ends by name, [rows, tokens] each.
SpanForward = Callable[[Batch], Mapping[str, np.ndarray]]


def span_logits(
    forward: SpanForward,
    columns: Mapping[str, Column],
    pad_id: int,
    batch_size: int = 32,
    multiple: int = 1,
    max_width: int = 0,
) -> tuple[Ragged, Ragged]:
    """The logits of both ends for all rows, in their order, computed in batches from long to short.

    Args:
        forward: of the model.
        columns: encoded rows.
        pad_id: fills short rows up.
        batch_size: rows of a batch.
        multiple: see :class:`data.batches.Batches`.
        max_width: see there.

    Raises:
        Diverged: a logit is not finite.
    """
    batches = Batches(columns, batch_size, pad_id, shuffle=False, workers=0, multiple=multiple, max_width=max_width)
    ids = columns["input_ids"]
    assert isinstance(ids, Ragged)
    offsets = ids.compact().offsets
    found = {name: np.empty(int(offsets[-1]), np.float32) for name in ENDS}
    for batch in batches.epoch(0):
        said = forward(batch)
        inside = np.arange(batch["input_ids"].shape[1]) < batch["lengths"][:, None]
        where = (offsets[batch["rows"]][:, None] + np.arange(inside.shape[1]))[inside]
        for name in ENDS:
            if not np.isfinite(said[name]).all():
                raise Diverged("the model puts out numbers that are not finite; its weights are worthless")
            found[name][where] = said[name][inside]
    return tuple(Ragged(found[name], offsets) for name in ENDS)  # type: ignore[return-value]


def answered(
    forward: SpanForward,
    asked: Questions,
    encoded: Encoded,
    pad_id: int,
    n_best: int,
    longest: int,
    batch_size: int = 32,
) -> list[list[Answer]]:
    """The best answers of a model; arguments as for :func:`data.questions.best_answers`."""
    starts, ends = span_logits(forward, encoded.columns, pad_id, batch_size)
    return best_answers(asked, encoded, starts, ends, n_best, longest)


def evaluated(asked: Questions, answers: Sequence[Sequence[Answer]], language: str) -> dict[str, float]:
    """``em`` and ``f1`` of the first answers."""
    return score([known[0].text for known in answers], asked, language)
