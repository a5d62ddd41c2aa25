"""What recipes for classifiers share: steps on labels and answers, a training evaluated by the task's metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle

from core.evaluate import evaluate_model
from core.losses import distillation_losses, hard_label_loss
from core.metrics import MAIN_METRIC, Selection
from core.options import ClassifierOptions
from core.predictions import asked_test_rows, write_predictions
from core.run import Run, RunRecord, training_record
from core.train import Losses, Step
from data.batches import Batch
from data.columns import Column, Columns, token_ids
from data.sources import Rows, TaskData, describe
from data.tasks import Task
from models.folder import LoadedModel, Model
from models.occurring import occurring_rows


def read_data(run: Run, options: ClassifierOptions) -> tuple[TaskData, dict[str, Rows]]:
    """The rows of the task that options name, read and checked, and those that are to be labelled."""
    data = options.rows()
    test = asked_test_rows(options, data.task)
    run.say(describe(data))
    return data, test


def found_again(run: Run, options: ClassifierOptions) -> dict[str, Any]:
    """What a run left that had ended before: its metrics, and on demand labels for a test file."""
    if not options.do_predict:
        return run.found()
    return run.found(lambda loaded: write_predictions(run.path, loaded, asked_test_rows(options, loaded.labelled)))


def label_step(model: Model) -> Callable[[Batch], Losses]:
    """A training step on labels alone."""

    def step(batch: Batch) -> Losses:
        return {"loss": hard_label_loss(model.from_batch(batch), paddle.to_tensor(batch["labels"]))}

    return step


def distillation_step(
    model: Model, alpha: float = 0.0, kind: str = "mse", temperature: float = 1.0, over_classes: str = "sum"
) -> Callable[[Batch], Losses]:
    """A training step over batches with ``teacher_logits`` and ``labels``; see :func:`distillation_losses`."""

    def step(batch: Batch) -> Losses:
        logits = model.from_batch(batch)
        targets, labels = paddle.to_tensor(batch["teacher_logits"]), paddle.to_tensor(batch["labels"])
        return distillation_losses(logits, targets, labels, alpha, kind, temperature, over_classes)

    return step


def always_the_same(rows: Rows, task: Task, figures: Mapping[str, float]) -> str:
    """A note on a model that is no better than one answer for all rows; empty otherwise.

    Args:
        rows: with labels.
        task: of these rows.
        figures: the model's on them: accuracy, and what else the task is judged by.
    """
    if task.is_regression or rows.labels is None or not task.labels:
        return ""
    counts = np.bincount(rows.labels, minlength=len(task.labels))
    often = int(counts.argmax())
    accuracy, positive = figures["accuracy"], counts[-1] / len(rows)
    # Of one answer for all: no correlation; F1 where all are taken for the last label, for it is 0 otherwise.
    constant = {"accuracy": counts[often] / len(rows), "matthews": 0.0, "f1": 2 * positive / (1 + positive)}
    if any(figures[name] > value for name, value in constant.items() if name in figures):
        return ""
    return (
        f"note: dev accuracy {accuracy:.4f} is no better than {task.labels[often]!r} for every row: this model has "
        "learnt nothing, and can teach nothing; more rows, more epochs, another learning rate, or a pre-trained model"
    )


def train_classifier(
    run: Run,
    loaded: LoadedModel,
    columns: Mapping[str, Column],
    step: Step,
    data: TaskData,
    batch_size: int,
    epochs: int,
    learning_rate: float,
    optimizer: str,
    evaluate: Callable[[Columns], Mapping[str, float]] | None = None,
    choosing: Columns | None = None,
    select_by: Selection | None = None,
) -> RunRecord:
    """Trains over encoded rows and evaluates on dev; of the embedding those rows that occur in them.

    Args:
        run: whose folder receives checkpoints and log.
        loaded: trained in place.
        columns: encoded rows with what ``step`` needs beside them.
        step: batch to losses.
        data: gives the rows that choose checkpoints, and dev.
        batch_size: rows of a batch over all processes.
        epochs: passes over the rows.
        learning_rate: at its peak.
        optimizer: see :data:`core.optim.OPTIMIZERS`.
        evaluate: figures that choose checkpoints, from the encoded rows that choose them; the task's metrics of the
            model when left out.
        choosing: encoded rows for ``evaluate`` that need not have labels; those of ``data`` when left out.
        select_by: which of the figures chooses; the task's main metric when left out.

    Returns:
        The record of the run, for :meth:`core.run.Run.finish`.
    """
    encoder = loaded.encoder
    validation = encoder.encode(data.validation.texts) if choosing is None else choosing
    batches = run.batches(columns, batch_size, encoder.pad_id)
    # What a further evaluation reads is asked for afterwards, when the model is whole again.
    read = token_ids(loaded.model.config.vocab_size, columns, validation)

    def figures() -> Mapping[str, float]:
        if evaluate is not None:
            return evaluate(validation)
        return evaluate_model(loaded, data.validation, encoded=validation)

    select_by = select_by or Selection(MAIN_METRIC[loaded.labelled.metric])
    with occurring_rows(loaded.model, read):
        result = run.fit(loaded.model, batches, step, figures, select_by, epochs, learning_rate, optimizer)
    # What chose the weights need not be computed again.
    on_dev = result.figures if data.validation is data.dev and evaluate is None else None
    on_dev = dict(on_dev) if on_dev is not None else evaluate_model(loaded, data.dev)
    note = always_the_same(data.dev, data.task, on_dev) if "accuracy" in on_dev else ""
    if note:
        run.say(note)
    further: Any = {name: evaluate_model(loaded, rows) for name, rows in data.further_dev.items()}
    return {
        "task": data.task.name,
        "dev": on_dev,
        **further,
        "dev_rows": len(data.dev),
        "train_rows": len(data.train),
        "skipped_rows": data.train.skipped + data.dev.skipped,
        "selection_rows": validation.rows,
        "selected_on": "dev" if data.validation is data.dev else "held-out training rows",
        "training": training_record(result),
        "processes": run.world.size,
        **({"note": note} if note else {}),
    }
