"""What a model folder tells of the rows that its run read: later commands find them again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    folder: str | os.PathLike[str], task: Task, skip_bad_rows: bool = False
) -> tuple[Rows | Questions, str] | None:
    """The dev rows of the run that wrote a model folder, and the file that they stand in.

    Args:
        folder: the model folder.
        task: of its model, with its labels.
        skip_bad_rows: leave out what cannot be read.

    Returns:
        None where the run read other rows than files, or its files are gone.

    Raises:
        InputError: a file is there and is no longer what it was.
    """
    given = recorded_options(folder)
    train, dev, data_dir = (_path(given, name) for name in ("train_file", "dev_file", "data_dir"))
    if task.kind == "span":
        if dev is None and data_dir is not None and given.get("task_name") in QUESTIONS:
            dev = find_questions(data_dir, "dev", str(given["task_name"]))
        return (read_questions(dev), str(dev)) if dev is not None else None
    if dev is None and data_dir is not None and has_split(data_dir, "dev"):
        dev = find_split(data_dir, "dev")
    if dev is not None:
        return read_rows(dev, task, skip_bad_rows)[0], str(dev)
    if train is None or given.get("dev_file"):
        return None
    share = given.get("dev_share", DEV_SHARE)
    data = load_task_data(task, train_file=str(train), skip_bad_rows=skip_bad_rows, dev_share=share)
    return data.dev, f"{train} (the part that is dev)"


def _path(given: Mapping[str, Any], name: str) -> Path | None:
    """A file or folder of the record that is still there."""
    value = given.get(name)
    return Path(value) if isinstance(value, str) and os.path.exists(value) else None
