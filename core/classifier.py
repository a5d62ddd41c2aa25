"""What all classifier recipes do before and after the loop: read the data, report, write the model folder."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from args import DataOptions, RunOptions
from console import say, table
from core import distributed
from core.checkpoint import RunFolder, remove_checkpoints
from core.distributed import World
from core.evaluate import evaluate_model
from core.train import TrainingResult
from data.sources import TaskData, describe, load_task_data
from models.folder import LoadedModel, save


def training_world(script: str, options: RunOptions) -> tuple[World, RunFolder]:
    """Checks output folder, device and precision, and joins the other processes."""
    folder = RunFolder.check(script, options)
    world = distributed.start(options.device)
    distributed.check_precision(options.precision)  # type: ignore[attr-defined]
    return world, folder


def load_data(options: DataOptions, world: World) -> TaskData:
    """The rows of the task that the options name, read and checked."""
    data = load_task_data(
        options.task(),
        options.data_dir,
        options.train_file,
        options.dev_file,
        options.skip_bad_rows,
        options.holdout,
        options.max_train_rows,
        # The rows held out must be the same for teacher and students of any seed.
        seed=0,
    )
    if world.is_main:
        say(describe(data))
    return data


def evaluate_fully(loaded: LoadedModel, data: TaskData, result: TrainingResult, world: World) -> dict[str, Any]:
    """The record of a finished training: metrics on dev and how it came to them."""
    return {
        "task": data.task.name,
        "dev": evaluate_model(loaded, data.dev),
        "dev_rows": len(data.dev),
        "train_rows": len(data.train),
        "skipped_rows": data.train.skipped + data.dev.skipped,
        "selection_rows": len(data.select),
        "selected_on": "dev" if data.select is data.dev else "held-out training rows",
        "parameters": loaded.parameters,
        "training": asdict(result),
        "processes": world.size,
    }


def finish(
    folder: RunFolder, metrics: dict[str, Any] | None, loaded: LoadedModel | None = None, world: World | None = None
) -> dict[str, Any]:
    """Writes the model folder and its metrics, or reads those of a run that had finished before."""
    if metrics is None:
        metrics = folder.read_metrics()
        say(f"{folder.path}: this run had finished")
    elif loaded is not None and (world is None or world.is_main):
        save(folder.path, loaded)
        folder.write_metrics(metrics)
        remove_checkpoints(folder.path)
    if world is None or world.is_main:
        rows = [(f"dev {name}", f"{value:.4f}") for name, value in metrics["dev"].items()]
        training = metrics["training"]
        rows += [("chosen", training["chosen"]), ("parameters", f"{metrics['parameters']:,}")]
        rows += [
            ("rows visited", f"{training['rows']:,}"),
            ("rows/s", f"{training['rows'] / max(training['seconds'], 1e-9):,.0f}"),
        ]
        say(f"\n{table(('', str(folder.path)), rows)}")
    return metrics
