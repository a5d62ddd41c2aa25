"""A model whose answers are judged, whatever holds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data.questions import Answer, Questions
from data.tasks import Task


@dataclass(frozen=True)
class Judged:
    """A model that is asked.

    Attributes:
        name: of its folder.
        task: what it was trained for.
        logits: of rows given as one list of strings per text column, [rows, labels]; of classifiers.
        answers: the best answer to every question; of models that find answers.
    """

    name: str
    task: Task
    logits: Callable[[Sequence[Sequence[str]]], np.ndarray]
    answers: Callable[[Questions], list[list[Answer]]]
