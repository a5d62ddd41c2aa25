"""What a model loses by less precision, on rows with labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from console import InputError
from core.forms import FORMS, Graph
from core.metrics import MAIN_METRIC, compute_metrics
from core.recorded import recorded_dev
from core.texts import columns_of, given_rows, parity_rows
from data.questions import Questions
from data.sources import Rows
from data.tasks import Task

if TYPE_CHECKING:
    # Predicting reads export folders without the networks, whose import costs seconds.
    from models.folder import LoadedModel

# Rows at most on which int8 is compared with fp32.
VALIDATED = 2000


@dataclass(frozen=True)
class Validation:
    """Rows on which int8 must be as good as fp32.

    Attributes:
        rows: with labels; None where only texts are at hand.
        texts: the same without their labels.
        where: they stand, for the screen.
        most: points of the task's metric that may be lost.
    """

    rows: Rows | Questions | None
    texts: list[list[str]]
    where: str
    most: float


def validation_rows(
    task: Task,
    data_dir: str | None,
    most: float,
    dev_file: str | None = None,
    trained_in: str | os.PathLike[str] | None = None,
) -> Validation:
    """Rows on which int8 is compared with fp32, at most :data:`VALIDATED`; arguments as of :func:`parity_rows`.

    Args:
        task: of the model.
        data_dir: folder of the task.
        most: points of the metric that may be lost.
        dev_file: rows of one's own, with labels.
        trained_in: where neither is given, a model folder whose run says which dev rows it read; after that, the
            built-in corpus, which has no labels of the task.

    Raises:
        InputError: a file is missing, or not as expected; or a model that puts out no labels has no rows to be judged
            on.
    """
    if dev_file or data_dir:
        rows, where = given_rows(task, data_dir, dev_file)
    elif trained_in is not None and (found := recorded_dev(trained_in, task)) is not None:
        rows, where = found
    elif task.kind != "classification":
        raise InputError("--format onnx-int8: needs rows to be judged on; pass --data_dir or --dev_file")
    else:
        known = parity_rows(task, None, VALIDATED)
        return Validation(None, known.columns, known.where, most)
    if isinstance(rows, Questions):
        return Validation(rows, columns_of(rows, len(rows)), where, most)
    # Files are often sorted by label.
    chosen = rows.take(np.unique(np.linspace(0, len(rows) - 1, min(len(rows), VALIDATED)).astype(np.int64)))
    return Validation(chosen, [list(column) for column in chosen.texts], where, most)


def lost_accuracy(loaded: LoadedModel, exact: Graph, graph: Graph, validation: Validation, form: str) -> dict[str, Any]:
    """What a form with less precision loses of the task's metric.

    Raises:
        InputError: it is more than allowed.
    """
    task, rows = loaded.labelled, validation.rows
    found: dict[str, Any] = {"rows": len(validation.texts[0]), "texts": Path(validation.where).name}
    if isinstance(rows, Questions):
        before, after = (_found_answers(loaded, side, rows) for side in (exact, graph))
        metric = MAIN_METRIC[task.metric]
    else:
        columns = loaded.encoder.encode(validation.texts)
        sides = [_logits(loaded, side, columns) for side in (exact, graph)]
        if rows is None:
            # Whatever the labels are, accuracy cannot fall by more than that.
            metric, before, after = "agreement", 1.0, float((sides[0].argmax(-1) == sides[1].argmax(-1)).mean())
        else:
            assert rows.labels is not None
            metric = MAIN_METRIC[task.metric]
            before, after = (compute_metrics(task.metric, logits, rows.labels)[metric] for logits in sides)
            if not task.is_regression:
                found["agreement"] = float((sides[0].argmax(-1) == sides[1].argmax(-1)).mean())
    found |= {"metric": metric, "fp32": before, FORMS[form].precision: after, "lost_points": 100 * (before - after)}
    if not found["lost_points"] <= validation.most:
        raise InputError(
            f"--format {form}: {metric} falls by {found['lost_points']:.2f} points, from {before:.4f} to {after:.4f} "
            f"on {found['rows']:,} rows of {validation.where}; allowed is --max_accuracy_drop {validation.most:g}: "
            "leave this format out, or allow more"
        )
    return found


def _logits(loaded: LoadedModel, graph: Graph, columns: Mapping[str, Any]) -> np.ndarray:
    from core.evaluate import predict_logits

    return predict_logits(graph, columns, loaded.encoder.pad_id, 32)


def _found_answers(loaded: LoadedModel, graph: Graph, asked: Questions) -> float:
    """The share of answers that are found, by the metric that chooses checkpoints."""
    from core.spans import answered, evaluated
    from data.questions import Windows, encode, longest_answer
    from data.tokenization import WordPieceTokenizer

    task, tokenizer = loaded.labelled, loaded.tokenizer
    assert isinstance(tokenizer, WordPieceTokenizer)
    parts = encode(asked, tokenizer, Windows.of(task, loaded.max_seq_length))
    answers = answered(graph.run, asked, parts, loaded.encoder.pad_id, 1, longest_answer(task))
    return evaluated(asked, answers, task.language)[MAIN_METRIC[task.metric]]
