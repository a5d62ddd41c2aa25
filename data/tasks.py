"""The tasks of the field as rows of one registry, and a user's own data as one more. Standard library only.

python -m data.tasks --task_name qqp --data_dir DIR     # labels and lengths of a task's rows
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from console import InputError

# What a row's label is: one of a few, a number, or a part of the row's second text.
KINDS = ("classification", "regression", "span")

# What is fine-tuned, by language, unless another model is named: the bundled one, and one that PaddleNLP downloads.
TEACHERS = {"en": "all-MiniLM-L6-v2", "zh": "bert-wwm-ext-chinese"}


@dataclass(frozen=True)
class Submission:
    """How a benchmark wants the predictions of a task.

    Attributes:
        files: the name of the file, by the split that it labels.
        as_json: one object with ``id`` and ``label`` per line, as CLUE; else ``index`` and ``prediction`` as TSV.
        codes: what stands for a label there, where that is something else.
    """

    files: Mapping[str, str]
    as_json: bool = False
    codes: Mapping[str, str] = field(default_factory=dict)

    def text(self, answers: Sequence[str]) -> str:
        """The content of a file: the answers in the order of the rows, which count from 0."""
        if not self.as_json:
            return "\n".join(["index\tprediction", *(f"{i}\t{answer}" for i, answer in enumerate(answers)), ""])
        lines = (
            json.dumps({"id": i, "label": self.codes.get(answer, answer)}, ensure_ascii=False)
            for i, answer in enumerate(answers)
        )
        return "\n".join([*lines, ""])


@dataclass(frozen=True)
class Task:
    """What a task's files look like and how its predictions are evaluated.

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
        kind: see :data:`KINDS`.
        hub: the arguments of ``paddlenlp.datasets.load_dataset``; None for a user's own data.
        submission: how its benchmark takes predictions; None where there is none.
        windows: of reading comprehension, how its passages are cut and answered: tokens between the beginnings of two
            windows, of a question at most, of an answer at most.
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
    kind: str = "classification"
    hub: tuple[str, ...] | None = field(default=None, compare=False)
    submission: Submission | None = field(default=None, compare=False, repr=False)
    windows: tuple[int, int, int] | None = field(default=None, compare=False)

    @property
    def is_pair(self) -> bool:
        """Whether a row holds two texts."""
        return len(self.text_columns) == 2

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number to predict."""
        return self.kind == "regression"

    @property
    def outputs(self) -> int:
        """How many numbers a model of this task puts out: one per label; of a span, two per token."""
        return {"regression": 1, "span": 2}.get(self.kind) or len(self.labels or ())

    def as_dict(self) -> dict[str, Any]:
        """What a model folder says of its task: all but where rows come from and where predictions go."""
        return {name: value for name, value in asdict(replace(self, submission=None)).items() if name not in ELSEWHERE}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Task:
        """The way back; what other versions of this library wrote beside it is left out.

        Raises:
            TypeError: a value is of another type.
            ValueError: the same, or an unknown kind.
        """
        known = {item.name for item in fields(cls)} - ELSEWHERE
        given = {name: _frozen(value) for name, value in dict(values).items() if name in known}
        # Earlier versions told numbers by the metric alone.
        given.setdefault("kind", "regression" if given.get("metric") == NUMBERS else "classification")
        task = cls(**given)
        texts = (task.name, task.label_column, task.metric, task.language, *task.text_columns, *(task.labels or ()))
        if not all(isinstance(text, str) for text in texts) or len(task.text_columns) not in (1, 2):
            raise ValueError("a task needs a name, one or two text columns, and labels that are texts")
        if task.windows is not None and not (
            type(task.windows) is tuple
            and len(task.windows) == 3
            and all(type(size) is int and 0 < size <= 1_000_000 for size in task.windows)
        ):
            raise ValueError(f"windows {task.windows!r}: expected three numbers of tokens")
        if any("\ud800" <= char <= "\udfff" for text in texts for char in text):
            raise ValueError("half a surrogate pair in a name: this is not Unicode text")
        if task.kind not in KINDS or task.metric not in (*METRICS, SPANS):
            raise ValueError(f"expected a task of a known kind and metric, found {task.kind!r} and {task.metric!r}")
        return task

    def aliases(self, column: str) -> tuple[str, ...]:
        """All names that ``column`` may carry in a file, its own first."""
        return (column, *dict(self.column_aliases).get(column, ()))

    def with_labels(self, labels: Sequence[str]) -> Task:
        """The same task with its label strings known."""
        return replace(self, labels=tuple(labels))


def _frozen(value: Any) -> Any:
    """A value from JSON as it stands in a task: tuples for lists."""
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value


# Fields of a task that belong to the registry and not to a model.
ELSEWHERE = {"hub", "submission"}
METRICS = ("accuracy", "acc_and_f1", "matthews", "pearson_and_spearman")
# The metric of numbers to predict.
NUMBERS = "pearson_and_spearman"
# The metric of parts of a text; see data.questions.
SPANS = "em_and_f1"
SENTENCES = ("sentence1", "sentence2")
NLI = ("contradiction", "entailment", "neutral")
# PaddleNLP's copies call every GLUE label "labels".
LABELS = (("label", ("labels",)),)


def _pair_aliases(*names: tuple[str, str], label: str = "label") -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Other names of the columns ``sentence1`` and ``sentence2``, and of the label."""
    first, second = (tuple(pair[side] for pair in names) for side in (0, 1))
    others = tuple(name for name in ("label", "labels") if name != label)
    return (("sentence1", first), ("sentence2", second), (label, others))


def _glue(file: str, **further: str) -> Submission:
    return Submission({"test": f"{file}.tsv", **{split: f"{name}.tsv" for split, name in further.items()}})


def _clue(file: str, codes: Mapping[str, str] | None = None) -> Submission:
    return Submission({"test": f"{file}_predict.json"}, as_json=True, codes=codes or {})


TNEWS_CODES = {
    "news_story": "100",
    "news_culture": "101",
    "news_entertainment": "102",
    "news_sports": "103",
    "news_finance": "104",
    "news_house": "106",
    "news_car": "107",
    "news_edu": "108",
    "news_tech": "109",
    "news_military": "110",
    "news_travel": "112",
    "news_world": "113",
    "news_stock": "114",
    "news_agriculture": "115",
    "news_game": "116",
}

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
            submission=_glue("CoLA"),
        ),
        Task(
            "sst-2",
            ("sentence",),
            labels=("0", "1"),
            column_aliases=LABELS,
            hub=("glue", "sst-2"),
            submission=_glue("SST-2"),
        ),
        Task(
            "mrpc",
            SENTENCES,
            label_column="Quality",
            labels=("0", "1"),
            metric="acc_and_f1",
            column_aliases=_pair_aliases(("#1 String", "#2 String"), label="Quality"),
            hub=("glue", "mrpc"),
            submission=_glue("MRPC"),
        ),
        Task(
            "sts-b",
            SENTENCES,
            label_column="score",
            labels=(),
            metric=NUMBERS,
            kind="regression",
            column_aliases=_pair_aliases(label="score"),
            hub=("glue", "sts-b"),
            submission=_glue("STS-B"),
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
            submission=_glue("QQP"),
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
            submission=_glue("MNLI-m", test_mismatched="MNLI-mm"),
        ),
        Task(
            "qnli",
            ("question", "sentence"),
            labels=("entailment", "not_entailment"),
            column_aliases=(("question", ("sentence1",)), ("sentence", ("sentence2",)), *LABELS),
            hub=("glue", "qnli"),
            submission=_glue("QNLI"),
        ),
        Task(
            "rte",
            SENTENCES,
            labels=("entailment", "not_entailment"),
            column_aliases=_pair_aliases(),
            hub=("glue", "rte"),
            submission=_glue("RTE"),
        ),
        Task(
            "wnli",
            SENTENCES,
            labels=("0", "1"),
            column_aliases=_pair_aliases(),
            hub=("glue", "wnli"),
            submission=_glue("WNLI"),
        ),
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
            submission=_clue("tnews11", TNEWS_CODES),
        ),
        Task(
            "iflytek",
            ("sentence",),
            labels=None,
            language="zh",
            column_aliases=(("sentence", ("text_a", "text")),),
            hub=("clue", "iflytek"),
            submission=_clue("iflytek"),
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
                submission=submission,
            )
            for name, labels, dropped, hub, submission in (
                ("afqmc", ("0", "1"), (), ("clue", "afqmc"), _clue("afqmc")),
                # The set of 50,000 training rows has a name of its own.
                ("ocnli", NLI, ("-",), ("clue", "ocnli"), _clue("ocnli_50k")),
                ("cmnli", NLI, ("-",), ("clue", "cmnli"), _clue("cmnli")),
                ("lcqmc", ("0", "1"), (), ("lcqmc",), None),
                ("bq_corpus", ("0", "1"), (), ("bq_corpus",), None),
            )
        ),
    )
}
ALIASES = {"senta": "chnsenticorp", "sst2": "sst-2", "stsb": "sts-b", "bq": "bq_corpus"}
LANGUAGES = ("en", "zh")
# Tasks of reading comprehension, which data.questions reads.
QUESTIONS = ("cmrc2018", "drcd")
# What tells parts of speech; see data.part_of_speech.
TAGGERS = ("auto", "textblob", "spacy", "jieba")


def get_task(name: str) -> Task:
    """The registered task called ``name``, in any case.

    Raises:
        InputError: no such task; the message lists those there are.
    """
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    if key in QUESTIONS:
        raise InputError(f"--task_name {name}: asks for a part of a text: use finetune.run_mrc")
    if key not in TASKS:
        known = ", ".join(sorted(TASKS))
        raise InputError(
            f"--task_name {name}: no such task; known are {known}; "
            "your own data needs --train_file and --text_columns instead"
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
    kind = "regression" if metric == NUMBERS else "classification"
    labels = () if kind == "regression" else None
    return Task(name, tuple(text_columns), label_column, labels, metric, language, kind=kind)


if __name__ == "__main__":
    # The command's name is of old; its work stands above the tasks, which therefore do not import it.
    import runpy

    runpy.run_module("data.overview", run_name="__main__")
