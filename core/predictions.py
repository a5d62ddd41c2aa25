"""Labels for test rows, as the benchmarks' servers take them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from console import InputError, say
from core.evaluate import dygraph_forward, predict_logits
from core.options import ClassifierOptions
from data.sources import Rows, find_split, has_split, read_rows
from data.tasks import TASKS, Submission, Task
from files import write_atomically
from models.folder import LoadedModel


def test_rows(task: Task, test_file: str | None, data_dir: str | None) -> dict[str, Rows]:
    """The rows that are to be labelled, by the name of their split.

    Args:
        task: names the columns.
        test_file: the file; when left out, that of ``data_dir``, and its further ones.
        data_dir: a folder in the layout of the task.

    Raises:
        InputError: no file, no rows, or a bad one: predictions go by the number of the row.
    """
    files = {"test": Path(test_file) if test_file else find_split(data_dir or "", "test")}
    for name in task.further_dev:
        further = name.replace("dev", "test")
        if not test_file and has_split(data_dir or "", further):
            files[further] = find_split(data_dir or "", further)
    hint = "mend it: predictions go by the number of the row, so that none can be left out"
    found = {name: read_rows(path, task, labelled=False, hint=hint)[0] for name, path in files.items()}
    for name, rows in found.items():
        if len(rows) == 0:
            raise InputError(f"{files[name]}: no rows to label")
    return found


def asked_test_rows(options: ClassifierOptions, task: Task) -> dict[str, Rows]:
    """The same for options; none without ``--do_predict``."""
    return test_rows(task, options.test_file, options.data_dir) if options.do_predict else {}


def write_predictions(folder: Path, loaded: LoadedModel, test: Mapping[str, Rows]) -> None:
    """Labels rows and writes them below ``predictions``, as the task's benchmark wants them.

    A task without a benchmark is written as GLUE's are, under its name.

    Args:
        folder: of the run.
        loaded: the model.
        test: rows by the name of their split.
    """
    task = loaded.labelled
    known = TASKS.get(task.name)
    submission = (known.submission if known else None) or Submission({})
    for split, rows in test.items():
        logits = predict_logits(dygraph_forward(loaded.model), loaded.encoder.encode(rows.texts), loaded.encoder.pad_id)
        names = task.labels or ()
        answers = [names[i] for i in logits.argmax(-1)] if names else [f"{value:.3f}" for value in logits[:, 0]]
        path = folder / "predictions" / submission.files.get(split, f"{task.name}.tsv")
        write_atomically(path, submission.text(answers))
        say(f"{len(rows):,} predictions in {path}")
