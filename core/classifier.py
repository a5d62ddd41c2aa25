"""What all classifier recipes do before and after the loop: read the data, report, write the model folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import paddle

from args import ClassifierOptions, DataOptions, RunOptions
from console import say, table
from core import distributed
from core.checkpoint import RunFolder, remove_checkpoints
from core.distributed import World
from core.evaluate import evaluate_model
from core.losses import hard_label_loss
from core.metrics import MAIN_METRIC
from core.train import Loop, LoopSettings, Losses, TrainingResult
from data.batches import Batch, Batches, Columns
from data.sources import TaskData, describe, load_task_data
from models.folder import Classifier, LoadedModel, save


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


def label_step(model: Classifier) -> Callable[[Batch], Losses]:
    """A training step on labels alone."""

    def step(batch: Batch) -> Losses:
        return {"loss": hard_label_loss(model.from_batch(batch), paddle.to_tensor(batch["labels"]))}

    return step


def train_classifier(
    loaded: LoadedModel,
    columns: Columns,
    step: Callable[[Batch], Losses],
    data: TaskData,
    options: ClassifierOptions,
    settings: LoopSettings,
    world: World,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Runs the loop over encoded rows and evaluates on dev.

    Args:
        loaded: trained in place.
        columns: encoded rows with what ``step`` needs beside them.
        step: batch to losses.
        data: gives the rows that choose checkpoints, and dev.
        options: of the recipe.
        settings: of the loop.
        world: the processes of the run.
        extra: further entries of the record.

    Returns:
        The record of the run, for :func:`finish`.
    """
    settings = replace(settings, selection_metric=MAIN_METRIC[loaded.task.metric])
    encoder = loaded.encoder
    select = encoder.encode(data.select.texts)
    batches = Batches(
        columns,
        options.batch_size,
        encoder.pad_id,
        seed=options.seed,
        rank=world.rank,
        world=world.size,
        workers=options.num_workers,
    )

    def evaluate() -> dict[str, float]:
        return evaluate_model(loaded, data.select, encoded=select)

    result = Loop(loaded.model, step, batches, evaluate, settings, options, options, world).run()
    return {**evaluate_fully(loaded, data, result, world), **(extra or {})}


def evaluate_fully(loaded: LoadedModel, data: TaskData, result: TrainingResult, world: World) -> dict[str, Any]:
    """The record of a finished training: metrics on dev and how it came to them."""
    return {
        "task": data.task.name,
        "dev": evaluate_model(loaded, data.dev),
        **{name: evaluate_model(loaded, rows) for name, rows in data.further_dev.items()},
        "dev_rows": len(data.dev),
        "train_rows": len(data.train),
        "skipped_rows": data.train.skipped + data.dev.skipped,
        "selection_rows": len(data.select),
        "selected_on": "dev" if data.select is data.dev else "held-out training rows",
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
        metrics["parameters"] = loaded.parameters
        save(folder.path, loaded)
        folder.write_metrics(metrics)
        remove_checkpoints(folder.path)
    if world is None or world.is_main:
        judged = [part for part in metrics if part.startswith("dev") and isinstance(metrics[part], dict)]
        rows = [(f"{part} {name}", f"{value:.4f}") for part in judged for name, value in metrics[part].items()]
        training = metrics["training"]
        rows += [("chosen", training["chosen"]), ("parameters", f"{metrics['parameters']:,}")]
        rows += [
            ("rows visited", f"{training['rows']:,}"),
            ("rows/s", f"{training['rows'] / max(training['seconds'], 1e-9):,.0f}"),
        ]
        say(f"\n{table(('', str(folder.path)), rows)}")
    return metrics
