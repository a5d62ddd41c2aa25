"""Texts and rows that finished models are checked and measured on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from console import InputError
from core.recorded import recorded_dev
from data.questions import Questions, find_questions, read_questions
from data.sources import Rows, find_split, read_rows
from data.tasks import Task


@dataclass(frozen=True)
class Texts:
    """Texts of a task.

    Attributes:
        columns: one list per text column.
        where: they stand, for the screen.
    """

    columns: list[list[str]]
    where: str


def parity_rows(
    task: Task,
    data_dir: str | None,
    count: int,
    dev_file: str | None = None,
    trained_in: str | os.PathLike[str] | None = None,
) -> Texts:
    """Texts that a model is checked or measured on.

    Args:
        task: of the model.
        data_dir: folder of the task, whose dev rows are taken.
        count: rows at most.
        dev_file: rows of one's own, instead.
        trained_in: where neither is given, a model folder whose run says which dev rows it read; after that, the
            built-in corpus in the task's language.

    Raises:
        InputError: a file is missing, or not as expected.
    """
    if dev_file or data_dir:
        return _given_rows(task, data_dir, count, dev_file)
    found = recorded_dev(trained_in, task, labelled=False) if trained_in is not None else None
    if found is not None:
        rows, where = found
        return Texts(columns_of(rows, count), where)
    from data.demo_corpus import LIMITS, chinese_sentiment, english_pairs, english_sentiment

    if task.is_pair and task.language == "en":
        count = min(count, LIMITS["english_pairs"])
        return _built_in([row.texts for row in english_pairs(count, seed=0)], "English questions")
    sentences, name = (
        (chinese_sentiment, "Chinese reviews") if task.language == "zh" else (english_sentiment, "English reviews")
    )
    count = min(count, LIMITS[sentences.__name__])
    return _built_in([row.texts * len(task.text_columns) for row in sentences(count, seed=0)], name)


def _given_rows(task: Task, data_dir: str | None, count: int, dev_file: str | None) -> Texts:
    rows, where = given_rows(task, data_dir, dev_file, labelled=False)
    return Texts(columns_of(rows, count), where)


def given_rows(
    task: Task, data_dir: str | None, dev_file: str | None, labelled: bool = True
) -> tuple[Rows | Questions, str]:
    """The rows of a file, or the dev rows of a task's folder, and where they stand.

    Raises:
        InputError: the file is missing, empty, or not as expected.
    """
    if task.kind == "span":
        source = Path(dev_file) if dev_file else find_questions(data_dir or "", "dev", task.name)
        return read_questions(source, labelled), str(source)
    source = Path(dev_file) if dev_file else find_split(data_dir or "", "dev")
    rows, _ = read_rows(source, task, labelled=labelled)
    if len(rows) == 0:
        raise InputError(f"{source}: no rows")
    return rows, str(source)


def columns_of(rows: Rows | Questions, count: int) -> list[list[str]]:
    """The texts of so many rows at most, one list per text column."""
    if isinstance(rows, Questions):
        return [rows.questions[:count], [rows.contexts[number] for number in rows.context_of[:count]]]
    return [column[:count] for column in rows.texts]


def _built_in(rows: list[tuple[str, ...]], name: str) -> Texts:
    return Texts([list(column) for column in zip(*rows, strict=True)], f"the built-in {name}")
