"""The student's training, the same with a teacher and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.checkpoint import RunFolder
from core.classifier import evaluate_fully, finish
from core.distributed import World
from core.evaluate import evaluate_model
from core.train import Loop, LoopSettings, Losses
from data.batches import Batch, Batches, Columns
from data.sources import TaskData
from distill_lstm.options import StudentOptions
from models.folder import LoadedModel


def train_student(
    student: LoadedModel,
    columns: Columns,
    step: Callable[[Batch], Losses],
    data: TaskData,
    options: StudentOptions,
    folder: RunFolder,
    world: World,
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Runs the loop over encoded rows, evaluates on dev and writes the model folder.

    Args:
        student: trained in place.
        columns: encoded rows with what ``step`` needs beside them.
        step: batch to losses.
        data: gives the rows that choose checkpoints, and dev.
        options: of the recipe.
        folder: receives the model.
        world: the processes of the run.
        extra: further entries of ``metrics.json``.
    """
    encoder = student.encoder
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
    loop = Loop(
        student.model,
        step,
        batches,
        lambda: evaluate_model(student, data.select, encoded=select),
        LoopSettings(options.max_epoch, options.lr, options.optimizer),
        options,
        options,
        world,
    )
    result = loop.run()
    metrics = {**evaluate_fully(student, data, result, world), **(extra or {})}
    return finish(folder, metrics, student, world)
