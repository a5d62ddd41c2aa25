"""Figures of models on labelled rows, of model folders and export folders alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from console import InputError, say, table
from core.export import EXPORT_CONFIG
from core.metrics import agreement, compute_metrics
from core.recorded import recorded_dev
from core.spans import evaluated
from data.questions import Questions, read_questions
from data.sources import Rows, read_rows
from data.tasks import Task
from deploy.judged import Judged
from deploy.options import EvaluateOptions
from deploy.predictor import Predictor
from files import check_new_file, write_json


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Judges a model, shows the figures and writes them where that is asked.

    Returns:
        ``rows``, ``metrics``; of a classifier ``labels`` (precision, recall, F1 and rows of each) and ``confusion``
        (rows of each label by what they were taken for); with another model ``against``.

    Raises:
        InputError: a model or the rows cannot be used.
    """
    if options.output_file:
        check_new_file(options.output_file, "--output_file")
    if options.input_file and not Path(options.input_file).is_file():
        raise InputError(f"--input_file {options.input_file}: no such file")
    folders = [folder for folder in (options.model_dir, options.against) if folder]
    for name in ("runtime", "precision"):
        if options.asks(name) and not any((Path(folder) / EXPORT_CONFIG).is_file() for folder in folders):
            raise InputError(f"--{name} goes with an export folder; write one with deploy.export")
    model = opened(options.model_dir, "--model_dir", options)
    other = opened(options.against, "--against", options) if options.against else None
    if other is not None and _read_alike(other.task) != _read_alike(model.task):
        raise InputError(f"--against {options.against}: was trained for other rows or labels than {options.model_dir}")
    found = _spans(model, other, options) if model.task.kind == "span" else _rows(model, other, options)
    if options.output_file:
        write_json(options.output_file, found)
    return found


def _read_alike(task: Task) -> tuple[Any, ...]:
    return task.kind, len(task.text_columns), tuple(task.labels or ())


def opened(folder: str, option: str, options: EvaluateOptions) -> Judged:
    """A model folder or an export folder, ready to be asked.

    Raises:
        InputError: neither, or a model without a task.
    """
    if (Path(folder) / EXPORT_CONFIG).is_file():
        served = Predictor(
            folder, options.threads or None, options.device, runtime=options.runtime, precision=options.precision
        )
        return Judged(
            folder,
            served.task,
            lambda texts: served.logits(texts, options.batch_size),
            lambda asked: served.answers_to(asked, options.batch_size),
        )
    if not Path(folder).is_dir():
        raise InputError(f"{option} {folder}: no such folder")
    # Exports of ONNX files are judged where there is no Paddle.
    from deploy.trained import trained

    return trained(folder, options)


def _rows(model: Judged, other: Judged | None, options: EvaluateOptions) -> dict[str, Any]:
    task = model.task
    if options.label_column:
        task = replace(task, label_column=options.label_column, column_aliases=_without_label(task))
    if options.input_file:
        rows, _ = read_rows(options.input_file, task, options.skip_bad_rows)
        if not len(rows):
            raise InputError(f"--input_file {options.input_file}: no rows")
    else:
        rows = _recorded(options, task)
        assert isinstance(rows, Rows)
    assert rows.labels is not None
    logits = model.logits(rows.texts)
    found: dict[str, Any] = {"rows": len(rows), "metrics": compute_metrics(task.metric, logits, rows.labels)}
    if task.labels:
        found |= by_label(task.labels, logits.argmax(-1), rows.labels)
    if other is not None:
        found["against"] = _compared(other, logits, rows, task)
    _show(model, other, found, rows.skipped)
    return found


def _recorded(options: EvaluateOptions, task: Task) -> Rows | Questions:
    """The dev rows of a training, for want of others."""
    for folder in filter(None, (options.model_dir, options.against)):
        if found := recorded_dev(folder, task):
            say(f"rows: {found[1]}\n")
            return found[0]
    raise InputError(
        "give --input_file: the folders do not say on which rows they were evaluated, or these are gone (an export "
        "does not say; with --against and its model folder the rows of that one's training are taken)"
    )


def _without_label(task: Task) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, others) for name, others in task.column_aliases if name != task.label_column)


def _compared(other: Judged, logits: np.ndarray, rows: Rows, task: Task) -> dict[str, float]:
    """What the other model comes to, and how often both say the same."""
    assert rows.labels is not None
    said = other.logits(rows.texts)
    return {**compute_metrics(task.metric, said, rows.labels), **agreement(logits, said, task.is_regression)}


def by_label(labels: Sequence[str], predicted: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Precision, recall and F1 of every label, and what rows of each were taken for.

    Args:
        labels: their names.
        predicted: label ids, [rows].
        true: label ids, [rows].

    Returns:
        ``labels`` and ``confusion``, [labels, labels]: rows of each label by what they were taken for. Shares of no
        rows are 0.
    """
    count = len(labels)
    confusion = np.bincount(true * count + predicted, minlength=count * count).reshape(count, count)
    hits, asked, given = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    precision, recall = (hits / np.maximum(1, total) for total in (given, asked))
    f1 = 2 * hits / np.maximum(1, asked + given)
    return {
        "labels": {
            name: {
                "precision": float(precision[n]),
                "recall": float(recall[n]),
                "f1": float(f1[n]),
                "rows": int(asked[n]),
            }
            for n, name in enumerate(labels)
        },
        "confusion": confusion.tolist(),
    }


def _spans(model: Judged, other: Judged | None, options: EvaluateOptions) -> dict[str, Any]:
    if options.label_column or options.skip_bad_rows:
        raise InputError("--label_column and --skip_bad_rows go with rows, not with questions")
    asked = read_questions(options.input_file) if options.input_file else _recorded(options, model.task)
    assert isinstance(asked, Questions)
    answers = model.answers(asked)
    found: dict[str, Any] = {"rows": len(asked), "metrics": evaluated(asked, answers, model.task.language)}
    if other is not None:
        said = other.answers(asked)
        same = [mine[0].text == theirs[0].text for mine, theirs in zip(answers, said, strict=True)]
        found["against"] = {**evaluated(asked, said, model.task.language), "agreement": sum(same) / len(same)}
    _show(model, other, found, asked.skipped)
    return found


def _show(model: Judged, other: Judged | None, found: dict[str, Any], skipped: int) -> None:
    rows = [(name, f"{value:.4f}") for name, value in found["metrics"].items()]
    rows.append(("rows", f"{found['rows']:,}" + (f" ({skipped:,} skipped)" if skipped else "")))
    say(table(("", model.name), rows))
    if "labels" in found:
        header = ("label", "precision", "recall", "F1", "rows", *(f"taken for {name}" for name in found["labels"]))
        shown = [
            (name, *(f"{known[key]:.4f}" for key in ("precision", "recall", "f1")), known["rows"], *taken)
            for (name, known), taken in zip(found["labels"].items(), found["confusion"], strict=True)
        ]
        say(f"\n{table(header, shown)}")
    if other is not None:
        say(f"\n{table(('against', other.name), [(k, f'{v:.4f}') for k, v in found['against'].items()])}")
