"""Labels for texts of a command line, a file or standard input."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from console import InputError, say, silence
from core.metrics import compute_metrics
from data.questions import read_questions
from data.sources import SKIP_HINT, BadRow, checked_label, checked_text, decoded_lines, iterate_records, label_values
from data.tasks import Task
from deploy.options import PredictOptions
from deploy.predictor import Prediction, Predictor
from files import check_new_file, new_file


def predict(options: PredictOptions) -> int:
    """Writes predictions; returns the number of rows.

    When whoever reads standard output has gone (``| head``), it ends: there is nobody to predict for.

    Raises:
        InputError: the model or a row cannot be used; the output file is then left as it was.
    """
    if options.device == "gpu":
        from core.distributed import choose_device

        choose_device("gpu")
    if options.output_file is not None:
        check_new_file(options.output_file, "--output_file")
    elif sys.stdout is None:
        raise InputError("standard output is closed; name an --output_file")
    if options.input_file and not Path(options.input_file).is_file():
        raise InputError(f"--input_file {options.input_file}: no such file")
    if not options.text and not options.input_file and sys.stdin is None:
        raise InputError("standard input is closed; give --text or --input_file")
    predictor = Predictor(options.model_dir, options.threads or None, options.device, options.n_best_size)
    if options.text_pair and not predictor.is_pair:
        raise InputError(f"--text_pair: the model in {options.model_dir} reads single texts")
    if options.n_best_size > 1 and not predictor.finds_answers:
        raise InputError(f"--n_best_size: the model in {options.model_dir} labels texts, it finds no answers in them")
    if options.text and predictor.is_pair and not options.text_pair:
        raise InputError(f"--text_pair is missing: the model in {options.model_dir} reads pairs")
    labels: list[str | None] = []
    rows = input_rows(options, predictor.task, labels)
    count, logits = 0, []
    try:
        with output(options.output_file) as file:
            for prediction in predictor.stream(rows, options.batch_size):
                file.write(json.dumps(prediction.as_dict(predictor.text_columns), ensure_ascii=False) + "\n")
                if isinstance(prediction, Prediction) and labels:
                    logits.append(prediction.logits)
                count += 1
    except BrokenPipeError:
        if options.output_file is None:
            silence(1)
        return count
    if options.output_file:
        say(f"{count:,} predictions in {options.output_file}")
    if scored := score(logits, labels, predictor.task):
        # Standard output may hold the predictions.
        print(scored, file=sys.stderr, flush=True)
    return count


def score(logits: Sequence[Sequence[float]], labels: Sequence[str | None], task: Task) -> str:
    """A line on how the predictions agree with the labels that stand beside the rows; empty where none do.

    Args:
        logits: of every row, [rows, labels].
        labels: of every row; None where a row has none that the model knows.
        task: gives the metric.
    """
    known = [number for number, label in enumerate(labels) if label is not None]
    if not known:
        return ""
    true = label_values([str(labels[number]) for number in known], task)
    found = compute_metrics(task.metric, np.asarray([logits[number] for number in known], np.float32), true)
    shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    return f"{shown} on {len(known):,} of {len(labels):,} rows, by their column {task.label_column!r}"


def input_rows(
    options: PredictOptions, task: Task, labels: list[str | None] | None = None
) -> Iterator[tuple[str, ...]]:
    """The rows to label, checked one by one as they are read.

    Args:
        options: name the texts.
        task: names the columns.
        labels: receives the label of every row, where the file has a column for them.
    """
    columns = task.text_columns
    if options.text:
        yield from zip(*([options.text, options.text_pair] if options.text_pair else [options.text]), strict=True)
        return
    if options.input_file and task.kind == "span" and Path(options.input_file).suffix == ".json":
        asked = read_questions(options.input_file, labelled=False)
        yield from ((text, asked.contexts[of]) for text, of in zip(asked.questions, asked.context_of, strict=True))
        return
    skipped = 0
    wants_labels = labels is not None and task.kind != "span"
    if options.input_file and Path(options.input_file).suffix != ".txt":
        source: Iterable = iterate_records(Path(options.input_file), task, False, wants_labels)
        name = options.input_file
    else:
        name = options.input_file or "standard input"
        source = _text_records(decoded_lines(options.input_file or sys.stdin.buffer), columns)
    for line, record in source:
        try:
            if isinstance(record, BadRow):
                raise record
            row = tuple(checked_text(record[column], column) for column in columns)
            if wants_labels and labels is not None and task.label_column in record:
                labels.append(known_label(record[task.label_column], task))
            yield row
        except BadRow as fault:
            if not options.skip_bad_rows:
                raise InputError(f"{name}, line {line}: {fault}; {SKIP_HINT}") from None
            skipped += 1
    if skipped:
        print(f"{skipped:,} bad rows skipped", file=sys.stderr)


def known_label(label: object, task: Task) -> str | None:
    """A label that stands beside a row; None where there is none, or one that the model does not know."""
    with contextlib.suppress(BadRow):
        return checked_label(label, task)
    return None


def _text_records(lines: Iterable, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | BadRow]]:
    for number, line in lines:
        if isinstance(line, BadRow):
            yield number, line
            continue
        fields = line.split("\t") if len(columns) == 2 else [line]
        if len(fields) != len(columns):
            yield number, BadRow(f"expected {len(columns)} texts separated by a tab, found {len(fields)}")
        else:
            yield number, dict(zip(columns, fields, strict=True))


@contextlib.contextmanager
def output(path: str | None) -> Iterator[IO[str]]:
    """Standard output, or a file that takes its name only when everything has been written."""
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with new_file(path) as file:
        yield file
