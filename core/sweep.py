"""A small grid of trainings: every cell with several seeds, found again when finished, and one table at the end."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from args import Options, words_of
from console import InputError, say, say_next, table
from core.checkpoint import ARGUMENTS
from core.metrics import MAIN_METRIC
from core.options import S, grid
from files import FolderLock, check_new_folder, write_json

RECORD = "sweep.json"
# Options that name a task and its rows.
DATA = (
    *("task_name", "data_dir", "train_file", "dev_file", "dev_share", "text_columns", "label_column", "language"),
    *("metric", "skip_bad_rows", "max_seq_length", "max_train_rows", "holdout", "cache_dir"),
)


def train_or_sweep(
    options: S,
    train: Callable[[S], Mapping[str, Any]],
    then: Callable[[list[str]], Sequence[Sequence[str]]] | None = None,
) -> None:
    """One training, or a grid of them where options have one; and what may be typed next.

    Args:
        options: of the script.
        train: trains with them.
        then: further commands, given the words that name the task and its rows.
    """
    if options.sweep:
        sweep(options, train)
        say_next(["python", "-m", "deploy.report", "--run", options.output_dir])
        return
    if "note" in train(options):
        # It has learnt nothing: neither worth being served nor a teacher.
        say_next(*look_at(options.output_dir.rstrip("/")))
        return
    data = words_on_data(options)
    out = options.output_dir.rstrip("/")
    export = ["python", "-m", "deploy.export", "--model_dir", out, "--output_dir", f"{out}_exported"]
    say_next(*(then(data) if then else ()), export, *look_at(out))


def words_on_data(options: Options) -> list[str]:
    """The words of a command that name its task and rows, for another command that reads the same."""
    return words_of({name: getattr(options, name) for name in DATA if name in options.given})


def look_at(folder: str) -> list[list[str]]:
    """Commands that show what a run did: a page, and its curves in VisualDL."""
    return [["python", "-m", "deploy.report", "--run", folder], ["visualdl", "--logdir", folder]]


def sweep(options: S, train: Callable[[S], Mapping[str, Any]]) -> dict[str, Any]:
    """Trains every cell of the grid with every seed, one after the other.

    A run is a model folder of its own below ``--output_dir``; the same command with ``--resume`` leaves out those that
    have finished and goes on with the one that was stopped.

    Args:
        options: with a grid.
        train: trains with the options of one cell and gives its metrics.

    Returns:
        What ``sweep.json`` holds: mean, standard deviation and single scores of each cell, the best cell, and the
        folder of its best run.

    Raises:
        InputError: the output folder holds something and neither ``--resume`` nor ``--overwrite`` was given.
    """
    root = Path(options.output_dir)
    check_new_folder(root, "--output_dir")
    FolderLock(root, f"--output_dir {root}").check()
    if root.exists() and any(root.iterdir()) and not (options.resume or options.overwrite):
        raise InputError(f"--output_dir {root} is not empty; pass --resume to go on, --overwrite to replace it")
    metric = MAIN_METRIC[options.task().metric]
    cells, runs = [], []
    for cell in grid(type(options), options.sweep):
        scores, folders = [], []
        for seed in range(options.seed, options.seed + options.seeds):
            folder = root / name_of(cell, seed)
            begun = (folder / ARGUMENTS).is_file()
            single = options.at(cell).replace(
                seed=seed,
                output_dir=str(folder),
                resume=options.resume and begun,
                overwrite=options.overwrite and begun,
            )
            say(f"\n== {folder.name}")
            scores.append(train(single)["dev"][metric])
            folders.append(folder.name)
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        cells.append({"options": cell, "mean": statistics.mean(scores), "standard_deviation": spread, "scores": scores})
        runs.append(folders[scores.index(max(scores))])
    best = max(range(len(cells)), key=lambda number: cells[number]["mean"])
    record = {"metric": metric, "cells": cells, "best": cells[best]["options"], "best_run": runs[best]}
    write_json(root / RECORD, record)
    say(f"\n{summary(record)}\n\nbest cell's best run: {root / runs[best]}")
    if (root / runs[best] / "predictions").is_dir():
        say(f"its predictions: {root / runs[best] / 'predictions'}")
    return record


def name_of(cell: Mapping[str, Any], seed: int) -> str:
    """The folder of a run: its options and its seed."""
    parts = [f"{name}={value}" for name, value in cell.items()]
    return "-".join([*parts, f"seed={seed}"]).replace("/", "_").replace(" ", "_")


def summary(record: Mapping[str, Any]) -> str:
    """One row a cell, the best one marked."""
    names = list(record["cells"][0]["options"])
    rows = [
        (
            *(str(cell["options"][name]) for name in names),
            f"{cell['mean']:.4f} ± {cell['standard_deviation']:.4f}",
            str(len(cell["scores"])),
            "best" if cell["options"] == record["best"] else "",
        )
        for cell in record["cells"]
    ]
    return table((*names, f"dev {record['metric']}", "seeds", ""), rows)
