"""The one evaluation, for teachers, students, sub-networks and exported models alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle

from console import progress
from core.metrics import Diverged, compute_metrics
from core.spans import ENDS, SpanForward
from data.batches import Batch, Batches
from data.columns import Column
from data.sources import Rows
from models.bert import Bert
from models.folder import LoadedModel

Forward = Callable[[Batch], np.ndarray]


def predict_logits(
    forward: Forward, columns: Mapping[str, Column], pad_id: int, batch_size: int = 128, what: str = "evaluate"
) -> np.ndarray:
    """Logits of all rows, in their order, computed in batches from long to short.

    Args:
        forward: takes a batch, returns logits [batch, labels].
        columns: encoded rows.
        pad_id: fills short rows up.
        batch_size: rows of a batch.
        what: named on the progress bar.

    Returns:
        float32, [rows, labels].

    Raises:
        Diverged: a logit is not finite.
    """
    batches = Batches(columns, batch_size, pad_id, shuffle=False)
    logits = None
    for batch in progress(batches.epoch(0), what, batches.steps_per_epoch, "batch"):
        part = forward(batch)
        if not np.isfinite(part).all():
            raise Diverged(f"{what}: the model puts out numbers that are not finite; its weights are worthless")
        if logits is None:
            logits = np.empty((batches.rows, part.shape[1]), np.float32)
        logits[batch["rows"]] = part
    assert logits is not None, "no rows to predict"
    return logits


def dygraph_forward(model: Any) -> Forward:
    """A model's forward pass in evaluation mode, without gradients; the mode is put back after every batch."""

    def forward(batch: Batch) -> np.ndarray:
        was_training = model.training
        model.eval()
        with paddle.no_grad():
            logits = model.from_batch(batch).numpy()
        if was_training:
            model.train()
        return logits

    return forward


def dygraph_spans(model: Bert) -> SpanForward:
    """A model's two ends in evaluation mode, without gradients; the mode is put back after every batch."""

    def forward(batch: Batch) -> Mapping[str, np.ndarray]:
        was_training = model.training
        model.eval()
        with paddle.no_grad():
            found = model.features_of(batch)
        if was_training:
            model.train()
        return {name: found[name].numpy() for name in ENDS}

    return forward


def evaluate_model(
    loaded: LoadedModel, rows: Rows, batch_size: int = 128, encoded: Mapping[str, Column] | None = None
) -> dict[str, float]:
    """The task's metrics of a model on labelled rows.

    Args:
        loaded: the model.
        rows: with labels.
        batch_size: rows of a batch.
        encoded: the rows as the model reads them, when that is known already.
    """
    encoder = loaded.encoder
    columns = encoder.encode(rows.texts) if encoded is None else encoded
    logits = predict_logits(dygraph_forward(loaded.model), columns, encoder.pad_id, batch_size)
    assert rows.labels is not None
    return compute_metrics(loaded.labelled.metric, logits, rows.labels)
