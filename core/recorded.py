"""What a model folder tells of the rows that its run read: later commands find them again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from console import InputError
from data.options import DataOptions
from data.questions import Questions, find_questions, read_questions
from data.sources import DEV_SHARE, Rows, find_split, has_split, load_task_data, read_rows
from data.tasks import QUESTIONS, Task
from files import read_json

ARGUMENTS = "training_args.json"


def recorded_options(folder: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The options of the run that wrote a model folder; empty where no run of ours did, or its record is damaged."""
    try:
        options = read_json(Path(folder) / ARGUMENTS)["options"]
    except (OSError, ValueError, KeyError, TypeError):
        # A folder that was cut, copied or made elsewhere has none.
        return {}
    return options if isinstance(options, dict) else {}


def recorded_dev(
    folder: str | os.PathLike[str], task: Task, labelled: bool = True
) -> tuple[Rows | Questions, str] | None:
    """The dev rows of the run that wrote a model folder, and the file that they stand in.

    Args:
        folder: the model folder.
        task: of its model, with its labels.
        labelled: whether labels are wanted too.

    Returns:
        None where the run read other rows than files, or its files are gone.

    Raises:
        InputError: a file is there and is no longer what it was.
    """
    given = recorded_options(folder)
    train, dev, data_dir = (_path(given, name) for name in ("train_file", "dev_file", "data_dir"))
    skips = given.get("skip_bad_rows") is True
    if task.kind == "span":
        if dev is None and data_dir is not None and given.get("task_name") in QUESTIONS:
            with contextlib.suppress(InputError):  # The folder is there and its files are gone.
                dev = find_questions(data_dir, "dev", str(given["task_name"]))
        return (read_questions(dev, labelled), str(dev)) if dev is not None else None
    if dev is None and data_dir is not None and has_split(data_dir, "dev"):
        dev = find_split(data_dir, "dev")
    if dev is not None:
        rows, _ = read_rows(dev, task, skips, labelled)
        return (rows, str(dev)) if len(rows) else None
    if train is None or given.get("dev_file"):
        return None
    share = given.get("dev_share", DEV_SHARE)
    data = load_task_data(task, train_file=str(train), skip_bad_rows=skips, dev_share=share)
    return data.dev, f"{train} (the part that is dev)"


def check_same_part(teacher: str | os.PathLike[str], options: DataOptions) -> None:
    """Refuses to judge a student on rows that its teacher has learnt from, where both part dev off the same file.

    Args:
        teacher: its model folder.
        options: of the student.

    Raises:
        InputError: the teacher's part was another one.
    """
    given = recorded_options(teacher)
    theirs, share = given.get("train_file"), given.get("dev_share", DEV_SHARE)
    if not options.train_file or options.dev_file or given.get("dev_file") or not isinstance(theirs, str):
        return
    if os.path.realpath(theirs) == os.path.realpath(options.train_file) and share != options.dev_share:
        raise InputError(
            f"--dev_share {options.dev_share}: the teacher in {teacher} was trained with {share}, so rows that judge "
            f"the student would be among those that it learnt from; pass --dev_share {share}"
        )


def _path(given: Mapping[str, Any], name: str) -> Path | None:
    """A file or folder of the record that is still there."""
    value = given.get(name)
    return Path(value) if isinstance(value, str) and os.path.exists(value) else None
