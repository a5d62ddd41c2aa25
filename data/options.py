"""Options that say where rows come from; see :mod:`args`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from args import Options, below_one, between, not_negative, option, proper_share, size
from console import InputError
from data.pairs import RARE_WORD, REPAIRS, Unlabeled
from data.sources import DEV_SHARE, TaskData, load_task_data
from data.tasks import LANGUAGES, METRICS, TASKS, Task, custom_task, get_task
from files import cache_folder

# What every --cache_dir says.
CACHE_DIR = (
    "folder of what later runs use again: downloads, transfer sets, teacher outputs, graphs; paddledistill in your "
    "cache folder when left out"
)
# Options of a user's own files, which a registered task has values of its own for.
OWN_FILES = ("text_columns", "label_column", "language", "metric", "dev_share")


class DataOptions(Options):
    """Where labelled rows come from."""

    group = "data"

    task_name: str | None = option(None, "a task of the registry, such as sst-2, qqp or chnsenticorp")
    data_dir: str | None = option(
        None, "folder with train and dev files in the GLUE or CLUE layout; downloaded when left out"
    )
    train_file: str | None = option(None, "your own training rows (.tsv, .csv or .jsonl)")
    dev_file: str | None = option(None, "your own evaluation rows; a part of --train_file when left out")
    dev_share: float = option(
        DEV_SHARE,
        "share of --train_file, of every label alike, that results are reported on when there is no --dev_file",
        check=proper_share,
    )
    text_columns: tuple[str, ...] = option((), "the column of the text, or the two columns of a pair")
    label_column: str = option("label", "the column of the label in your own files")
    language: str = option("en", "the language of your own files", choices=LANGUAGES)
    metric: str = option("accuracy", "how predictions on your own files are evaluated", choices=METRICS)
    skip_bad_rows: bool = option(False, "skip and count rows that cannot be read instead of stopping at the first")
    max_seq_length: int = option(128, "longest input in tokens, special tokens included; the rest is cut", check=size)
    holdout: float = option(
        0.0, "share of the training rows on which checkpoints are chosen; 0 chooses them on dev", check=below_one
    )
    max_train_rows: int = option(
        0, "use this many training rows only, drawn at random; 0 means all", check=not_negative
    )

    @classmethod
    def cases(cls) -> Mapping[str, Mapping[str, Any]]:
        return {name: {"task_name": name} for name in TASKS}

    def faults(self) -> list[str]:
        found = super().faults()
        own = [f"--{name}" for name in ("train_file", "dev_file") if getattr(self, name)]
        if self.task_name and own:
            found.append(f"--task_name and {own[0]} exclude each other: give a registered task or your own files")
        if not self.task_name:
            if not self.train_file:
                found.append("give --task_name, or your own data with --train_file")
            if not self.text_columns:
                found.append("your own data needs --text_columns")
            if self.data_dir:
                found.append("--data_dir goes with --task_name")
        else:
            found += [f"--{name} goes with --train_file, not with --task_name" for name in OWN_FILES if self.asks(name)]
        if self.dev_file and self.asks("dev_share"):
            found.append("--dev_share goes without --dev_file")
        if self.task_name or self.text_columns:
            try:
                self.task()
            except InputError as error:
                found.append(str(error))
        return found

    def task(self) -> Task:
        """The task these options name."""
        if self.task_name:
            return get_task(self.task_name)
        return custom_task(self.text_columns, self.label_column, self.language, self.metric)

    def rows(self) -> TaskData:
        """The rows that these options name, read and checked.

        Raises:
            InputError: a file, column, label or row is not as expected.
        """
        return load_task_data(
            self.task(),
            self.data_dir,
            self.train_file,
            self.dev_file,
            self.skip_bad_rows,
            self.holdout,
            self.max_train_rows,
            dev_share=self.dev_share,
            cache=cache_folder(getattr(self, "cache_dir", None)),
        )


class UnlabeledOptions(Options):
    """Rows without labels, which teachers label; all distillers take them."""

    group = "data"

    unlabeled_file: tuple[str, ...] = option(
        (),
        "texts without labels to learn from: .txt with one per line (the two of a pair with a tab between), or tables "
        "with the text columns; may be given again",
        repeat=True,
    )
    split_sentences: bool = option(False, "cut the lines of a .txt in --unlabeled_file into sentences")
    repair_pairs: int = option(
        0,
        "new pairs for every text of a pair task, without labels",
        check=between(0, 10_000),
    )
    repair_with: str = option(
        RARE_WORD,
        "partners in new pairs: by turns a text that shares a rare word and any other; or those that share most words",
        choices=REPAIRS,
    )

    def faults(self) -> list[str]:
        found = super().faults()
        if self.split_sentences and not self.unlabeled_file:
            found.append("--split_sentences goes with --unlabeled_file")
        if self.asks("repair_with") and not self.repair_pairs:
            found.append("--repair_with goes with --repair_pairs")
        for name in ("unlabeled_file", "repair_pairs"):
            if getattr(self, name) and getattr(self, "transfer_set", None):
                found.append(f"--{name} and --transfer_set exclude each other: a transfer set has all its rows")
        return found

    def unlabeled(self) -> Unlabeled:
        """The rows that these options name."""
        return Unlabeled(self.unlabeled_file, self.split_sentences, self.repair_pairs, self.repair_with)
