"""Options of the teacher's fine-tuning; names as in Paddle's ``run_glue.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from args import below_one, between, not_negative, option, positive, probability, size
from core.options import AdamWOptions, BertTrainingOptions, PickleOptions, RunOptions, SweepOptions, TeacherPassOptions
from core.shapes import SHAPES
from data.options import CACHE_DIR, DataOptions
from data.questions import QUESTION_TASKS, Windows, own_questions
from data.tasks import LANGUAGES, QUESTIONS, TEACHERS, Task, get_task
from files import cache_folder, read_json

# Tasks with enough rows for large batches.
MANY_ROWS = ("sst-2", "qqp", "mnli", "qnli", "tnews", "cmnli", "lcqmc", "bq_corpus")
# A small BERT wants larger steps and more passes than the base size that the published values are for (MiniRBT, table
# of learning rates).
NARROW, SHALLOW = 512, 4
SMALL_RATE, SMALL_RATES = 1e-4, {"ocnli": 5e-5}
# The shape of a teacher without pre-training: more would not be learnt from the rows of one task.
SCRATCH = "scratch"
UNTRAINED = {"num_hidden_layers": 4, "hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4}


def is_small(model: str) -> bool:
    """Whether a model is known to be narrower or shallower than the base size, without loading it."""
    if model == TEACHERS["en"]:
        return True
    try:
        # A published one by its name, such as hfl/rbt3, unless a folder has that.
        published = None if Path(model).is_dir() else SHAPES.get(model.rpartition("/")[2])
        config = published or read_json(Path(model) / "config.json")
        return int(config["hidden_size"]) <= NARROW or int(config["num_hidden_layers"]) <= SHALLOW
    except (OSError, ValueError, KeyError, TypeError):
        # Not a folder, or a damaged one, which loading it will tell.
        return False


class FinetuneOptions(PickleOptions, BertTrainingOptions):
    """Options of ``finetune.run_classifier``."""

    group = "training"

    model_name_or_path: str = option(
        TEACHERS["en"],
        "a folder with weights, the bundled all-MiniLM-L6-v2, a name that PaddleNLP downloads, or scratch: random "
        "weights and a vocabulary made out of the training rows",
        group="model",
    )
    num_hidden_layers: int | None = option(
        None, "layers of a model from scratch; 4 when left out", check=size, group="model"
    )
    hidden_size: int | None = option(
        None, "width of a model from scratch; 256 when left out", check=size, group="model"
    )
    intermediate_size: int | None = option(
        None, "neurons of its feed-forward parts; 1024 when left out", check=size, group="model"
    )
    num_attention_heads: int | None = option(
        None, "heads of each of its layers; 4 when left out", check=size, group="model"
    )
    learning_rate: float = option(5e-5, "the rate at its peak; with a task 3e-5 for base size and up", check=positive)
    num_train_epochs: int = option(
        3, "passes over the training rows; with a task 3 for base size and up", check=positive
    )

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        task = get_task(given["task_name"]) if given.get("task_name") else None
        model = TEACHERS[task.language if task else given.get("language", "en")]
        values: dict[str, Any] = {"model_name_or_path": model}
        name = given.get("model_name_or_path", model)
        if task is None and name != SCRATCH:
            return values
        values |= {"warmup_proportion": 0.06, "weight_decay": 0.01}
        if "warmup_steps" in given:
            del values["warmup_proportion"]
        if given.get("optimizer", "adamw") != "adamw":
            del values["weight_decay"]
        values["batch_size"] = 128 if task and task.name in MANY_ROWS else 32
        if name == SCRATCH:
            # Nothing that was learnt before can be lost: larger steps and more passes.
            return {**values, **UNTRAINED, "learning_rate": SMALL_RATE, "num_train_epochs": 6}
        if is_small(name):
            rate = SMALL_RATES.get(task.name if task else "", SMALL_RATE)
            return {**values, "learning_rate": rate, "num_train_epochs": 4}
        return {**values, "learning_rate": 3e-5, "num_train_epochs": 3}

    @classmethod
    def cases(cls) -> Mapping[str, Mapping[str, Any]]:
        return {**super().cases(), SCRATCH: {"model_name_or_path": SCRATCH}}

    def faults(self) -> list[str]:
        found = super().faults()
        if self.model_name_or_path != SCRATCH:
            return found + [
                f"--{name} goes with --model_name_or_path {SCRATCH}" for name in UNTRAINED if self.asks(name)
            ]
        found += [f"--{name}: expected a number" for name in UNTRAINED if getattr(self, name) is None]
        heads, width = self.num_attention_heads, self.hidden_size
        if heads and width and width % heads:
            found.append(f"--num_attention_heads {heads}: must divide --hidden_size {width}")
        return found

    def untrained_shape(self) -> dict[str, int]:
        """The shape of a model from scratch."""
        return {name: getattr(self, name) for name in UNTRAINED}


class ImportOptions(PickleOptions, DataOptions):
    """Options of ``finetune.import_classifier``."""

    group = "model"

    model_name_or_path: str = option(
        help="the classifier: a folder of Hugging Face or PaddleNLP, or a name that PaddleNLP downloads"
    )
    label_order: tuple[str, ...] = option(
        (),
        "the labels of your rows in the order of the classifier's outputs; by the names in its config.json when left "
        "out",
    )
    output_dir: str = option(help="folder that receives the model", state=False, group="output")
    overwrite: bool = option(False, "replace what --output_dir holds", state=False, group="output")
    cache_dir: str | None = option(None, CACHE_DIR, state=False, group="output")

    def cache(self) -> Path:
        """The folder for stages that later runs can use again."""
        return cache_folder(self.cache_dir)


class MrcOptions(PickleOptions, SweepOptions, AdamWOptions, TeacherPassOptions, RunOptions):
    """Options of ``finetune.run_mrc``."""

    group = "training"

    task_name: str | None = option(None, "a task of reading comprehension", choices=QUESTIONS, group="data")
    data_dir: str | None = option(None, "folder with the task's train.json (or trial.json) and dev.json", group="data")
    train_file: str | None = option(None, "your own questions to learn from: JSON in the layout of SQuAD", group="data")
    dev_file: str | None = option(None, "your own questions for the evaluation", group="data")
    test_file: str | None = option(
        None, "questions to answer into --output_dir/predictions, with --do_predict", state=False, group="data"
    )
    do_predict: bool = option(False, "also answer the questions of --test_file", state=False, group="output")
    language: str = option("zh", "the language of your own files", choices=LANGUAGES, group="data")
    holdout: float = option(
        0.0,
        "share of the training passages on which checkpoints are chosen; 0 chooses them on dev",
        check=below_one,
        group="data",
    )
    max_train_rows: int = option(
        0, "use this many training questions only, drawn at random; 0 means all", check=not_negative, group="data"
    )
    max_seq_length: int = option(512, "tokens of an input, special tokens included", check=size, group="data")
    doc_stride: int = option(
        128, "tokens between the beginnings of two windows of a passage", check=positive, group="data"
    )
    max_query_length: int = option(64, "tokens of a question; the rest is cut", check=size, group="data")
    max_answer_length: int = option(50, "tokens of an answer at most", check=size, group="data")
    n_best_size: int = option(
        20, "answers that --do_predict tells of every question", check=between(1, 1000), state=False, group="output"
    )
    model_name_or_path: str = option(
        TEACHERS["zh"],
        "a folder with weights, the bundled all-MiniLM-L6-v2, or a name that PaddleNLP downloads",
        group="model",
    )
    teacher_model: str | None = option(
        None,
        "distil: model folder of a teacher of reading comprehension with the same vocabulary",
        group="model",
        also=("teacher_dir",),
    )
    alpha: float = option(0.5, "weight of the labels beside the teacher", check=probability)
    temperature: float = option(2.0, "softens teacher and student", check=between(1e-3, 1e4))
    batch_size: int = option(32, "windows of a batch over all processes", check=positive, also=("train_batch_size",))
    learning_rate: float = option(3e-5, "the rate at its peak; 1e-4 for smaller than base size", check=positive)
    num_train_epochs: int = option(3, "passes over the windows", check=positive)

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        values = super().derived(given)
        if not given.get("task_name"):
            values["model_name_or_path"] = TEACHERS[given.get("language", "zh")]
        if is_small(given.get("model_name_or_path", values.get("model_name_or_path", TEACHERS["zh"]))):
            values["learning_rate"] = SMALL_RATE
        return values

    def faults(self) -> list[str]:
        found = super().faults()
        own = [f"--{name}" for name in ("train_file", "dev_file") if getattr(self, name)]
        if self.task_name:
            if own:
                found.append(f"--task_name and {own[0]} exclude each other: give a task or your own files")
            if not self.data_dir:
                found.append("--data_dir is required with --task_name")
            if self.asks("language"):
                found.append("--language goes with --train_file, not with --task_name")
        elif len(own) < 2:
            found.append("give --task_name with --data_dir, or your own questions with --train_file and --dev_file")
        elif self.data_dir:
            found.append("--data_dir goes with --task_name")
        if self.asks("n_best_size") and not self.do_predict:
            found.append("--n_best_size goes with --do_predict")
        if bool(self.test_file) != self.do_predict:
            found.append("--do_predict and --test_file go together")
        if self.max_seq_length - self.max_query_length < 4:
            found.append(
                f"--max_query_length {self.max_query_length}: leaves no room in --max_seq_length {self.max_seq_length}"
            )
        if self.model_name_or_path == SCRATCH:
            found.append(
                f"--model_name_or_path {SCRATCH}: a few questions teach no one to read; name a pre-trained BERT"
            )
        if self.teacher_model is None:
            found += [
                f"--{name} goes with --teacher_model"
                for name in ("alpha", "temperature", "teacher_precision")
                if self.asks(name)
            ]
        return found

    def task(self) -> Task:
        """The task that these options name."""
        task = QUESTION_TASKS[self.task_name] if self.task_name else own_questions(self.language)
        return replace(task, windows=(self.doc_stride, self.max_query_length, self.max_answer_length))

    def windows(self) -> Windows:
        """How passages are cut."""
        return Windows(self.max_seq_length, self.doc_stride, self.max_query_length)
