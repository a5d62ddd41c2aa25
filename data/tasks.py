"""The tasks of the field as rows of one registry, and a user's own data as one more. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from console import InputError


@dataclass(frozen=True)
class Task:
    """What a task's files look like and how its predictions are judged.

    Attributes:
        name: the registry's name, lower case.
        text_columns: one column for single sentences, two for pairs.
        label_column: the column that holds the label.
        labels: the label strings in the order of their ids; None until read from the training file.
        metric: ``accuracy``, or ``acc_and_f1`` (F1 of label id 1).
        language: ``en`` or ``zh``: decides the words of whole-word masking and of the student.
        column_aliases: other names that published copies give to a column.
        hub: the arguments of ``paddlenlp.datasets.load_dataset``; None for a user's own data.
        teacher: the published teacher.
    """

    name: str
    text_columns: tuple[str, ...]
    label_column: str = "label"
    labels: tuple[str, ...] | None = None
    metric: str = "accuracy"
    language: str = "en"
    column_aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    hub: tuple[str, ...] | None = None
    teacher: str = "bert-base-uncased"

    @property
    def is_pair(self) -> bool:
        """Whether a row holds two texts."""
        return len(self.text_columns) == 2

    def aliases(self, column: str) -> tuple[str, ...]:
        """All names that ``column`` may carry in a file, its own first."""
        return (column, *dict(self.column_aliases).get(column, ()))

    def with_labels(self, labels: Sequence[str]) -> Task:
        """The same task with its label strings known."""
        return replace(self, labels=tuple(labels))


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("sst-2", ("sentence",), labels=("0", "1"), hub=("glue", "sst-2")),
        Task(
            "qqp",
            ("question1", "question2"),
            label_column="is_duplicate",
            labels=("0", "1"),
            metric="acc_and_f1",
            # PaddleNLP's copy names the columns of every GLUE pair task in its own way.
            column_aliases=(
                ("question1", ("sentence1",)),
                ("question2", ("sentence2",)),
                ("is_duplicate", ("labels", "label")),
            ),
            hub=("glue", "qqp"),
        ),
        Task(
            "chnsenticorp",
            ("text_a",),
            labels=("0", "1"),
            language="zh",
            column_aliases=(("text_a", ("text", "sentence")),),
            hub=("chnsenticorp",),
            teacher="bert-wwm-ext-chinese",
        ),
    )
}
ALIASES = {"senta": "chnsenticorp", "sst2": "sst-2"}
METRICS = ("accuracy", "acc_and_f1")
LANGUAGES = ("en", "zh")


def get_task(name: str) -> Task:
    """The registered task called ``name``, in any case.

    Raises:
        InputError: no such task; the message lists those there are.
    """
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    if key not in TASKS:
        known = ", ".join(sorted(TASKS))
        raise InputError(
            f"--task_name {name}: no such task; known are {known}; "
            "your own data needs --train_file, --dev_file and --text_columns instead"
        )
    return TASKS[key]


def custom_task(
    text_columns: Sequence[str], label_column: str, language: str = "en", metric: str = "accuracy", name: str = "custom"
) -> Task:
    """A task over a user's own files; its labels are read from the training file.

    Raises:
        InputError: not one or two text columns, or the label among them.
    """
    if len(text_columns) not in (1, 2):
        raise InputError(
            f"--text_columns: expected one column or two, got {len(text_columns)}: {' '.join(text_columns)}"
        )
    if len({*text_columns, label_column}) != len(text_columns) + 1:
        raise InputError(
            f"--text_columns {' '.join(text_columns)} --label_column {label_column}: the names must differ"
        )
    return Task(name, tuple(text_columns), label_column=label_column, metric=metric, language=language)
