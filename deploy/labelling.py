"""Labels for texts of a command line, a file or standard input."""

from __future__ import annotations

import contextlib
import json
import sys
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from console import InputError, say, silence
from core.metrics import metrics_of
from data.questions import read_questions
from data.sources import SKIP_HINT, BadRow, checked_label, checked_text, decoded_lines, iterate_records
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
    if options.input_file == "-":
        # As other programs call standard input.
        options = options.replace(input_file=None)
    if options.output_file is not None:
        check_new_file(options.output_file, "--output_file")
    elif sys.stdout is None:
        raise InputError("standard output is closed; name an --output_file")
    if options.input_file and not Path(options.input_file).is_file():
        raise InputError(f"--input_file {options.input_file}: no such file")
    if not options.text and not options.input_file and sys.stdin is None:
        raise InputError("standard input is closed; give --text or --input_file")
    predictor = Predictor(
        options.model_dir,
        options.threads or None,
        options.device,
        options.n_best_size,
        options.runtime,
        options.precision,
    )
    if options.text_pair and not predictor.is_pair:
        raise InputError(f"--text_pair: the model in {options.model_dir} reads single texts")
    check_n_best(options.n_best_size, predictor, options.model_dir)
    if options.text and predictor.is_pair and not options.text_pair:
        raise InputError(f"--text_pair is missing: the model in {options.model_dir} reads pairs")
    scored = Scored(predictor.task)
    others: deque[dict[str, Any]] = deque()
    rows = input_rows(options, predictor.task, scored, others)
    count = 0
    try:
        with output(options.output_file) as file:
            for prediction in predictor.stream(rows, options.batch_size):
                record = prediction.as_dict(predictor.text_columns, others.popleft())
                file.write(json_line(record) + "\n")
                if isinstance(prediction, Prediction):
                    scored.predicted(prediction.logits)
                count += 1
    except BrokenPipeError:
        if options.output_file is None:
            silence(1)
        return count
    if options.output_file:
        say(f"{count:,} predictions in {options.output_file}")
    if line := scored.line():
        # Standard output may hold the predictions.
        print(line, file=sys.stderr, flush=True)
    return count


def check_n_best(count: int, predictor: Predictor, folder: str) -> None:
    """Raises an InputError where several answers are asked of a model that gives none."""
    if count > 1 and not predictor.finds_answers:
        raise InputError(f"--n_best_size: the model in {folder} labels texts, it finds no answers in them")


def json_line(record: dict[str, Any]) -> str:
    """A record as a line of JSON. What stands beside the texts may be what neither JSON nor UTF-8 knows."""
    try:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        line.encode()
    except ValueError:
        # What is no number becomes null; half a pair of surrogates stays as it came, escaped.
        line = json.dumps(json.loads(json.dumps(record), parse_constant=lambda _: None))
    return line


class Scored:
    """How predictions agree with labels that stand beside the rows; two numbers a row are kept.

    Args:
        task: gives labels and metric.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._ids = {label: number for number, label in enumerate(task.labels or ())}
        kind = "d" if task.is_regression else "q"
        self._true, self._predicted = array(kind), array(kind)
        # Rows are read a block ahead of what is said of them: what their labels are, and whether they have one.
        self._waiting: deque[float | int | None] = deque()
        self._rows = 0

    def label(self, given: object) -> None:
        """The label of the next row, or None where there is none, or none that the model knows."""
        self._rows += 1
        known: float | int | None = None
        # Labels that are dropped have no id.
        with contextlib.suppress(BadRow):
            if given is not None:
                label = checked_label(given, self._task)
                known = float(label) if self._task.is_regression else self._ids.get(label)
        self._waiting.append(known)

    def predicted(self, logits: Sequence[float]) -> None:
        """What the model says of the next row."""
        true = self._waiting.popleft()
        if true is not None:
            self._true.append(true)
            self._predicted.append(logits[0] if self._task.is_regression else int(np.argmax(logits)))

    def line(self) -> str:
        """A line with the score; empty where no label was known, or all numbers are one, as of rows to be labelled."""
        if not self._true or (self._task.is_regression and len(set(self._true)) == 1):
            return ""
        found = metrics_of(self._task.metric, np.asarray(self._predicted), np.asarray(self._true))
        shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        column = self._task.label_column
        return f"{shown} on {len(self._true):,} of {self._rows:,} rows, by their column {column!r}"


def input_rows(
    options: PredictOptions,
    task: Task,
    scored: Scored | None = None,
    others: deque[dict[str, Any]] | None = None,
) -> Iterator[tuple[str, ...]]:
    """The rows to label, checked one by one as they are read.

    Args:
        options: name the texts.
        task: names the columns.
        scored: receives the label of every row, None where it has none.
        others: receives what else the file tells of every row, such as its id.
    """
    others = deque() if others is None else others
    columns = task.text_columns
    if options.text:
        for row in zip(*([options.text, options.text_pair] if options.text_pair else [options.text]), strict=True):
            if scored is not None:
                scored.label(None)
            others.append({})
            yield row
        return
    if options.input_file and task.kind == "span" and Path(options.input_file).suffix == ".json":
        asked = read_questions(options.input_file, labelled=False)
        for name, text, of in zip(asked.ids, asked.questions, asked.context_of, strict=True):
            others.append({"id": name})
            yield text, asked.contexts[of]
        return
    skipped = 0
    wants_labels = scored is not None and task.kind != "span"
    if options.input_file and Path(options.input_file).suffix != ".txt":
        source: Iterable = iterate_records(Path(options.input_file), task, False, wants_labels, others=True)
        name = options.input_file
    else:
        name = options.input_file or "standard input"
        source = _text_records(decoded_lines(options.input_file or sys.stdin.buffer), columns)
    for line, record in source:
        try:
            if isinstance(record, BadRow):
                raise record
            row = tuple(checked_text(record[column], column) for column in columns)
            if scored is not None:
                scored.label(record.get(task.label_column) if wants_labels else None)
            taken = (*columns, task.label_column)
            others.append({name: value for name, value in record.items() if name not in taken})
            yield row
        except BadRow as fault:
            if not options.skip_bad_rows:
                raise InputError(f"{name}, line {line}: {fault}; {SKIP_HINT}") from None
            skipped += 1
    if skipped:
        print(f"{skipped:,} bad rows skipped", file=sys.stderr)


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
