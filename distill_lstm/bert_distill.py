"""Distils a fine-tuned BERT into a Bi-LSTM over augmented rows (Tang et al. 2019).

    python -m distill_lstm.bert_distill --task_name sst-2 --data_dir DIR --teacher_dir outputs/teacher \\
        --output_dir outputs/student
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from args import parse
from console import InputError, run_script, say
from distill_lstm.options import DistillOptions

if TYPE_CHECKING:
    import numpy as np

    from core.train import Losses
    from data.batches import Batch
    from data.tasks import Task
    from data.transfer import TransferSet
    from models.folder import LoadedModel

SCRIPT = "distill_lstm.bert_distill"


def main(argv: list[str]) -> None:
    """Parses the command line and distils."""
    distill(parse(DistillOptions, argv, __doc__ or "", f"python -m {SCRIPT}"))


def distill(options: DistillOptions) -> dict[str, Any]:
    """Distils and writes a model folder.

    Returns:
        What ``metrics.json`` holds.
    """
    import paddle

    from core.classifier import finish, finished, load_data, train_classifier, training_world
    from core.distributed import main_first
    from core.evaluate import dygraph_forward, predict_logits
    from core.losses import distillation_losses
    from core.metrics import agreement
    from core.train import LoopSettings
    from data.pairs import more_rows
    from data.transfer import in_memory, transfer_set_from_path
    from distill_lstm.augment_data import rows_to_augment, transfer_set, whole_words
    from distill_lstm.student import build_student, token_ids
    from models.bilstm import occurring_rows

    world, folder = training_world(SCRIPT, options)
    if folder.finished:
        return finished(folder, options)
    data = load_data(options, world)
    if data.task.is_regression and options.distill_loss != "mse":
        raise InputError(f"--distill_loss {options.distill_loss}: {data.task.name} predicts a number; use mse")
    rows = rows_to_augment(options, data.train, data.task, options.skip_bad_rows)
    teachers = load_teachers(options, data.task)
    student = build_student(options, replace(data, train=rows), teachers[0])

    def make_transfer_set() -> TransferSet:
        if options.transfer_set:
            words = whole_words(options, data.task)
            return transfer_set_from_path(
                options.transfer_set, data.task, student.tokenizer, words, options.skip_bad_rows
            )
        return transfer_set(options, rows, data.task, student.tokenizer, options.cache())

    transfer = main_first(world, make_transfer_set)
    if world.is_main:
        folder.open(SCRIPT, options)
        say(f"{more_rows(data.train, rows)}; transfer set: {len(transfer):,} rows")
        say(f"student: {student.parameters / 1e6:.1f} M parameters")
    logits, record = main_first(world, lambda: teachers_logits(teachers, transfer, options, "the transfer set"))
    columns = {
        **student.encoder.arrange(transfer.encode(student.tokenizer)),
        "teacher_logits": logits,
        "labels": transfer.labels,
    }

    def step(batch: Batch) -> Losses:
        logits = student.model.from_batch(batch)
        targets, labels = paddle.to_tensor(batch["teacher_logits"]), paddle.to_tensor(batch["labels"])
        return distillation_losses(logits, targets, labels, options.alpha, options.distill_loss, options.temperature)

    settings = LoopSettings(options.max_epoch, options.lr, options.optimizer)
    skipped = rows.skipped - data.train.skipped
    extra = {"transfer_rows": len(transfer), "skipped_unlabeled_rows": skipped, "teacher": record}
    with occurring_rows(student.model, token_ids(columns, student, data)):
        metrics = train_classifier(student, columns, step, data, options, settings, world, extra)
    dev = main_first(world, lambda: teachers_logits(teachers, in_memory(data.dev, student.tokenizer), options, "dev"))
    answers = predict_logits(
        dygraph_forward(student.model), student.encoder.encode(data.dev.texts), student.encoder.pad_id
    )
    metrics["dev_with_teacher"] = agreement(answers, dev[0], data.task.is_regression)
    return finish(folder, metrics, student, world, data)


def load_teachers(options: DistillOptions, task: Task) -> list[LoadedModel]:
    """The teachers, checked against the task and each other."""
    from core.classifier import load_teacher

    return [load_teacher(folder, task, "--teacher_dir") for folder in options.teacher_dir]


def teachers_logits(
    teachers: Sequence[LoadedModel], transfer: TransferSet, options: DistillOptions, what: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """The teachers' weighted mean of logits for a transfer set, [rows, outputs], and how they came."""
    import numpy as np

    from core.distributed import current_device
    from core.teacher import teacher_outputs

    weights = np.asarray(options.teacher_weights or [1.0] * len(teachers))
    weights = weights / weights.sum()
    mean: np.ndarray | None = None
    record: dict[str, Any] = {"computed_rows": 0, "seconds": 0.0}
    for number, (teacher, weight) in enumerate(zip(teachers, weights, strict=True)):
        outputs = teacher_outputs(teacher, transfer, options.cache(), current_device())
        how = f"computed in {outputs.seconds:.1f} s" if outputs.computed else "found in the cache"
        which = f" {number + 1}" if len(teachers) > 1 else ""
        say(f"outputs of teacher{which} for {what}: {outputs.unique:,} different rows, {how}")
        record["computed_rows"] += outputs.computed
        record["seconds"] += outputs.seconds
        if len(teachers) == 1:
            return outputs.logits, record
        part = np.float32(weight) * outputs.logits
        mean = part if mean is None else mean + part
    assert mean is not None, "at least one teacher is required"
    return mean, record


if __name__ == "__main__":
    raise SystemExit(run_script(main))
