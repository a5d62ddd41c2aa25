"""The tasks of the field as rows of one registry, and a user's own data as one more. Standard library only.

python -m data.tasks --task_name qqp --data_dir DIR     # labels and lengths of a task's rows
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from collections.abc import Sequence
from dataclasses import dataclass, replace

from console import InputError

# What is fine-tuned, by language, unless another model is named: the bundled one, and one that PaddleNLP downloads.
TEACHERS = {"en": "all-MiniLM-L6-v2", "zh": "bert-wwm-ext-chinese"}


@dataclass(frozen=True)
class Task:
    """What a task's files look like and how its predictions are judged.

    Attributes:
        name: the registry's name, lower case.
        text_columns: one column for single sentences, two for pairs.
        label_column: the column that holds the label.
        labels: the label strings in the order of their ids; None until read from the training file, empty when the
            label is a number to predict (``pearson_and_spearman``).
        metric: see :data:`METRICS`; F1 is that of label id 1.
        language: ``en`` or ``zh``: decides the words of whole-word masking and of the student.
        column_aliases: other names that published copies give to a column.
        header: the columns of published copies without a header row; empty when all have one.
        dropped_labels: labels of rows that the task leaves out, such as ``-`` where the annotators disagreed.
        further_dev: names of further evaluation files.
        hub: the arguments of ``paddlenlp.datasets.load_dataset``; None for a user's own data.
    """

    name: str
    text_columns: tuple[str, ...]
    label_column: str = "label"
    labels: tuple[str, ...] | None = None
    metric: str = "accuracy"
    language: str = "en"
    column_aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    header: tuple[str, ...] = ()
    dropped_labels: tuple[str, ...] = ()
    further_dev: tuple[str, ...] = ()
    hub: tuple[str, ...] | None = None

    @property
    def is_pair(self) -> bool:
        """Whether a row holds two texts."""
        return len(self.text_columns) == 2

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number to predict."""
        return self.metric == "pearson_and_spearman"

    @property
    def outputs(self) -> int:
        """How many numbers a model of this task puts out: one a label."""
        return 1 if self.is_regression else len(self.labels or ())

    def aliases(self, column: str) -> tuple[str, ...]:
        """All names that ``column`` may carry in a file, its own first."""
        return (column, *dict(self.column_aliases).get(column, ()))

    def with_labels(self, labels: Sequence[str]) -> Task:
        """The same task with its label strings known."""
        return replace(self, labels=tuple(labels))


SENTENCES = ("sentence1", "sentence2")
NLI = ("contradiction", "entailment", "neutral")
# PaddleNLP's copies call every GLUE label "labels".
LABELS = (("label", ("labels",)),)


def _pair_aliases(*names: tuple[str, str], label: str = "label") -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Other names of the columns ``sentence1`` and ``sentence2``, and of the label."""
    first, second = (tuple(pair[side] for pair in names) for side in (0, 1))
    others = tuple(name for name in ("label", "labels") if name != label)
    return (("sentence1", first), ("sentence2", second), (label, others))


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        # GLUE (Wang et al. 2018)
        Task(
            "cola",
            ("sentence",),
            labels=("0", "1"),
            metric="matthews",
            column_aliases=LABELS,
            header=("source", "label", "mark", "sentence"),
            hub=("glue", "cola"),
        ),
        Task("sst-2", ("sentence",), labels=("0", "1"), column_aliases=LABELS, hub=("glue", "sst-2")),
        Task(
            "mrpc",
            SENTENCES,
            label_column="Quality",
            labels=("0", "1"),
            metric="acc_and_f1",
            column_aliases=_pair_aliases(("#1 String", "#2 String"), label="Quality"),
            hub=("glue", "mrpc"),
        ),
        Task(
            "sts-b",
            SENTENCES,
            label_column="score",
            labels=(),
            metric="pearson_and_spearman",
            column_aliases=_pair_aliases(label="score"),
            hub=("glue", "sts-b"),
        ),
        Task(
            "qqp",
            ("question1", "question2"),
            label_column="is_duplicate",
            labels=("0", "1"),
            metric="acc_and_f1",
            column_aliases=(
                ("question1", ("sentence1",)),
                ("question2", ("sentence2",)),
                ("is_duplicate", ("labels", "label")),
            ),
            hub=("glue", "qqp"),
        ),
        Task(
            "mnli",
            SENTENCES,
            label_column="gold_label",
            labels=NLI,
            column_aliases=_pair_aliases(label="gold_label"),
            dropped_labels=("-",),
            further_dev=("dev_mismatched",),
            hub=("glue", "mnli"),
        ),
        Task(
            "qnli",
            ("question", "sentence"),
            labels=("entailment", "not_entailment"),
            column_aliases=(("question", ("sentence1",)), ("sentence", ("sentence2",)), *LABELS),
            hub=("glue", "qnli"),
        ),
        Task(
            "rte",
            SENTENCES,
            labels=("entailment", "not_entailment"),
            column_aliases=_pair_aliases(),
            hub=("glue", "rte"),
        ),
        Task("wnli", SENTENCES, labels=("0", "1"), column_aliases=_pair_aliases(), hub=("glue", "wnli")),
        # CLUE (Xu et al. 2020) and other Chinese tasks
        Task(
            "chnsenticorp",
            ("text_a",),
            labels=("0", "1"),
            language="zh",
            column_aliases=(("text_a", ("text", "sentence")),),
            hub=("chnsenticorp",),
        ),
        Task(
            "tnews",
            ("sentence",),
            # The copies differ in what they call the 15 labels: codes such as 104, or names such as news_finance.
            labels=None,
            language="zh",
            column_aliases=(("sentence", ("text_a", "text")),),
            hub=("clue", "tnews"),
        ),
        Task(
            "iflytek",
            ("sentence",),
            labels=None,
            language="zh",
            column_aliases=(("sentence", ("text_a", "text")),),
            hub=("clue", "iflytek"),
        ),
        *(
            Task(
                name,
                SENTENCES,
                labels=labels,
                language="zh",
                column_aliases=_pair_aliases(("text_a", "text_b"), ("query", "title")),
                header=(*SENTENCES, "label"),
                dropped_labels=dropped,
                hub=hub,
            )
            for name, labels, dropped, hub in (
                ("afqmc", ("0", "1"), (), ("clue", "afqmc")),
                ("ocnli", NLI, ("-",), ("clue", "ocnli")),
                ("cmnli", NLI, ("-",), ("clue", "cmnli")),
                ("lcqmc", ("0", "1"), (), ("lcqmc",)),
                ("bq_corpus", ("0", "1"), (), ("bq_corpus",)),
            )
        ),
    )
}
ALIASES = {"senta": "chnsenticorp", "sst2": "sst-2", "stsb": "sts-b", "bq": "bq_corpus"}
METRICS = ("accuracy", "acc_and_f1", "matthews", "pearson_and_spearman")
LANGUAGES = ("en", "zh")
# What tells parts of speech; see data.part_of_speech.
TAGGERS = ("auto", "textblob", "spacy", "jieba")


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
    labels = () if metric == "pearson_and_spearman" else None
    return Task(name, tuple(text_columns), label_column, labels, metric, language)


if __name__ == "__main__":
    from console import run_script
    from data.overview import main

    raise SystemExit(run_script(main))
