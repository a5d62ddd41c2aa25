"""Predicts with an export folder; imports neither PaddleNLP nor the networks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from console import InputError
from core.export import EXPORT_CONFIG, read_export_config
from core.forms import FORMS, chosen_form, open_form
from core.spans import ENDS, span_logits
from data.batches import Batches
from data.questions import Answer, Questions, Windows, as_questions, best_answers, encode, longest_answer
from data.sources import BadRow, checked_text
from data.tasks import KINDS, METRICS, NUMBERS, SPANS, TASKS, Task
from data.tokenization import InputEncoder, WordPieceTokenizer, load_tokenizer
from deploy.options import DEVICES


@dataclass(frozen=True)
class Prediction:
    """What a model says of a row.

    Attributes:
        texts: the row, one text or two.
        label: the most probable label; None when the model predicts a number.
        probability: of that label, by softmax.
        logits: of all labels, in their order; or the number.
    """

    texts: tuple[str, ...]
    label: str | None
    probability: float | None
    logits: tuple[float, ...]

    def as_dict(self, columns: Sequence[str], others: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        """A JSON object: what else is known of the row, its texts under the task's column names, and the figures.

        Where a column has the name of a figure (``probability``), the figure is called ``predicted_probability``.
        """
        values = {**others, **dict(zip(columns, self.texts, strict=True))}
        found: dict[str, Any] = {"score": round(self.logits[0], 6)}
        if self.label is not None and self.probability is not None:
            found = {"label": self.label, "probability": round(self.probability, 6)}
            found["logits"] = [round(v, 6) for v in self.logits]
        return _beside(values, found)


@dataclass(frozen=True)
class Answered:
    """What a model of reading comprehension finds in a passage.

    Attributes:
        texts: the question and the passage.
        answers: the best first.
    """

    texts: tuple[str, ...]
    answers: tuple[Answer, ...]

    def as_dict(self, columns: Sequence[str], others: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        """A JSON object: what else is known of the row, the question, its answer, where that begins, and further ones
        where several were asked for."""
        every = [
            {"answer": one.text, "probability": round(one.probability, 6), "start": one.start} for one in self.answers
        ]
        found = {**every[0], **({"n_best": every} if len(every) > 1 else {})}
        return _beside({**others, columns[0]: self.texts[0]}, found)


def _beside(values: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a row and what was found, under names that are not taken: probability, predicted_probability."""
    record = dict(values)
    for name, value in found.items():
        while name in record:
            name = f"predicted_{name}"
        record[name] = value
    return record


class Predictor:
    """A model that serves.

    Args:
        folder: an export folder.
        threads: for matrix kernels; None takes one per core.
        device: ``cpu`` or ``gpu``.
        n_best: of reading comprehension, answers to a question.
        runtime: ``paddle`` or ``onnx``; what the export holds first when left out. Paddle is not loaded for ``onnx``.
        precision: ``fp32`` or ``int8``; likewise. Or ``bf16``, in which Paddle computes where the processor has it.

    Attributes:
        form: what runs, of :data:`core.forms.FORMS`.
        precision: in which it is computed.

    Several threads may ask one predictor; with Paddle they take turns.

    Raises:
        InputError: no export folder, a damaged one, or one that holds nothing for that runtime and precision; a device
            or threads that there cannot be.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        threads: int | None = None,
        device: str = "cpu",
        n_best: int = 1,
        runtime: str | None = None,
        precision: str | None = None,
    ) -> None:
        if device not in DEVICES:
            raise InputError(f"device {device!r}: expected one of {', '.join(DEVICES)}")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError(f"threads {threads!r}: expected a whole number of at least 1, or None for one per core")
        self.folder = Path(folder)
        self.config = read_export_config(folder)
        try:
            self.labels: list[str] = list(self.config["labels"])
            self.text_columns: list[str] = list(self.config["text_columns"])
            if not all(isinstance(name, str) for name in (*self.labels, *self.text_columns)):
                raise ValueError("labels and columns are texts")
            length = self.config["max_seq_length"]
            if type(length) is not int or not 3 <= length <= 1_000_000:
                raise ValueError(f"max_seq_length {length!r}")
            if len(self.text_columns) not in (1, 2):
                raise ValueError(f"{len(self.text_columns)} text columns")
            self.task: Task = _task(self.config)
            tokenizer = load_tokenizer(folder, self.config["tokenizer"])
            self.encoder = InputEncoder(tokenizer, int(self.config["max_seq_length"]), self.config["layout"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{Path(folder) / EXPORT_CONFIG}: damaged ({type(error).__name__}: {error}); export again"
            ) from error
        self._n_best = n_best
        self.form = chosen_form(folder, self.config, runtime, precision)
        self.precision = precision or FORMS[self.form].precision
        outputs = ENDS if self.finds_answers else ("logits",)
        self.graph = open_form(folder, self.form, threads, device, outputs, self.precision)

    @property
    def finds_answers(self) -> bool:
        """Whether it answers questions on passages, instead of labelling rows."""
        return self.task.kind == "span"

    @property
    def is_pair(self) -> bool:
        """Whether a row holds two texts."""
        return len(self.text_columns) == 2

    def logits(self, texts: Sequence[Sequence[str]], batch_size: int = 32) -> np.ndarray:
        """Logits [rows, labels] of rows given as one list of strings per text column."""
        batches = Batches(
            self.encoder.encode(texts),
            batch_size,
            self.encoder.pad_id,
            shuffle=False,
            workers=0,
            multiple=self.graph.width_multiple,
            max_width=self.encoder.max_seq_length,
        )
        out = np.empty((batches.rows, max(1, len(self.labels))), np.float32)
        for batch in batches.epoch(0):
            found = self.graph(batch)
            if found.shape[1] != out.shape[1]:
                raise InputError(
                    f"{self.folder / EXPORT_CONFIG}: {len(self.labels)} labels, but the graph gives "
                    f"{found.shape[1]} logits; export the model again"
                )
            if not np.isfinite(found).all():
                raise InputError(f"{self.folder}: this model puts out numbers that are not finite; train it again")
            out[batch["rows"]] = found
        return out

    def answers_to(self, asked: Questions, batch_size: int = 32) -> list[list[Answer]]:
        """The best answers to questions."""
        tokenizer, length = self.encoder.tokenizer, self.encoder.max_seq_length
        assert isinstance(tokenizer, WordPieceTokenizer)
        encoded = encode(asked, tokenizer, Windows.of(self.task, length))
        ends = span_logits(
            self.graph.run, encoded.columns, self.encoder.pad_id, batch_size, self.graph.width_multiple, length
        )
        return best_answers(asked, encoded, *ends, self._n_best, longest_answer(self.task))

    def answers(self, texts: Sequence[Sequence[str]], batch_size: int = 32) -> list[list[Answer]]:
        """The same, given as one list of questions and one of passages."""
        return self.answers_to(as_questions(list(zip(*texts, strict=True))), batch_size)

    def run(self, texts: Sequence[Sequence[str]], batch_size: int = 32) -> Sequence[Any]:
        """What the model says of rows given as one list of strings per text column: logits, or answers."""
        return self.answers(texts, batch_size) if self.finds_answers else self.logits(texts, batch_size)  # type: ignore[return-value]

    def predict(self, rows: Sequence[tuple[str, ...]], batch_size: int = 32) -> list[Prediction] | list[Answered]:
        """Predictions for rows in memory.

        Raises:
            InputError: a row has an empty text, or not as many texts as the model reads.
        """
        for number, row in enumerate(rows, 1):
            self._check(row, f"row {number}")
        if self.finds_answers:
            found = self.answers([list(column) for column in zip(*rows, strict=True)], batch_size) if rows else []
            return [Answered(row, tuple(known)) for row, known in zip(rows, found, strict=True)]
        logits = (
            self.logits([list(column) for column in zip(*rows, strict=True)], batch_size) if rows else np.empty((0, 1))
        )
        return [self._prediction(row, values) for row, values in zip(rows, logits, strict=True)]

    def stream(self, rows: Iterable[tuple[str, ...]], batch_size: int = 32) -> Iterator[Prediction | Answered]:
        """Predictions in the order of the rows, in constant memory."""
        rows = iter(rows)
        # Rows of similar length share a batch within a block of 32 batches.
        while block := list(islice(rows, 32 * batch_size)):
            yield from self.predict(block, batch_size)

    def _check(self, row: tuple[str, ...], where: str) -> None:
        if isinstance(row, str):
            raise InputError(f"{where}: expected a tuple of texts, such as (text,), got the text alone")
        if len(row) != len(self.text_columns):
            raise InputError(f"{where}: this model reads {len(self.text_columns)} text(s) a row, got {len(row)}")
        for column, text in zip(self.text_columns, row, strict=True):
            try:
                checked_text(text, column)
            except BadRow as fault:
                raise InputError(f"{where}: {fault}") from None

    def _prediction(self, row: tuple[str, ...], logits: np.ndarray) -> Prediction:
        if not self.labels:
            return Prediction(row, None, None, tuple(logits.tolist()))
        shifted = np.exp(logits - logits.max())
        best = int(logits.argmax())
        return Prediction(row, self.labels[best], float(shifted[best] / shifted.sum()), tuple(logits.tolist()))


def _task(config: Mapping[str, Any]) -> Task:
    """What the model reads; of a registered task with the other names that published copies give to its columns."""
    known, columns = TASKS.get(config["task"]), tuple(config["text_columns"])
    if known is not None and known.text_columns == columns:
        return known.with_labels(config["labels"])
    kind = config.get("kind", "classification" if config["labels"] else "regression")
    if kind not in KINDS or (kind == "span" and len(columns) != 2):
        raise ValueError(f"kind {kind!r}")
    # Exports of earlier versions say neither.
    metric = config.get("metric", NUMBERS if kind == "regression" else "accuracy")
    if metric not in (*METRICS, SPANS):
        raise ValueError(f"metric {metric!r}")
    label = str(config.get("label_column", "label"))
    own = {"kind": kind, "windows": config.get("windows")}
    task = Task(config["task"], columns, label, tuple(config["labels"]), metric, config["language"])
    return Task.from_dict({**task.as_dict(), **own})
