"""Training of Bi-LSTMs, on labels alone and taught by fine-tuned BERTs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from console import InputError
from core.classifier import distillation_step, found_again, label_step, read_data, train_classifier
from core.distributed import main_first
from core.evaluate import dygraph_forward, predict_logits
from core.metrics import agreement
from core.predictions import write_predictions
from core.recorded import check_same_part
from core.run import Run
from core.teacher import Teachers, load_teacher
from data.pairs import more_rows
from data.transfer import TransferSet, in_memory, transfer_set_from_path
from distill_lstm.options import DistillOptions, SmallOptions
from distill_lstm.student import build_student
from distill_lstm.transfer import rows_to_augment, transfer_set
from models.folder import load

SMALL, DISTILL = "distill_lstm.small", "distill_lstm.bert_distill"


def train_small(options: SmallOptions) -> dict[str, Any]:
    """Trains a Bi-LSTM on labelled rows and writes a model folder.

    Returns:
        What ``metrics.json`` holds, see :class:`core.run.RunRecord`.
    """
    with Run.start(SMALL, options) as run:
        if run.finished:
            return found_again(run, options)
        data, test = read_data(run, options)
        student = build_student(options, data, load(options.teacher_dir) if options.teacher_dir else None)
        run.open()
        run.say(f"student: {student.parameters / 1e6:.1f} M parameters, on labels alone")
        columns = student.encoder.encode(data.train.texts).with_(labels=data.train.labels)
        record = train_classifier(
            run,
            student,
            columns,
            label_step(student.model),
            data,
            options.batch_size,
            options.max_epoch,
            options.lr,
            options.optimizer,
        )
        return run.finish(student, record, lambda trained: write_predictions(run.path, trained, test))


def distill(options: DistillOptions) -> dict[str, Any]:
    """Distils and writes a model folder.

    Returns:
        What ``metrics.json`` holds, see :class:`core.run.RunRecord`.
    """
    with Run.start(DISTILL, options) as run:
        if run.finished:
            return found_again(run, options)
        data, test = read_data(run, options)
        task = data.task
        if task.is_regression and options.distill_loss != "mse":
            raise InputError(f"--distill_loss {options.distill_loss}: {task.name} predicts a number; use mse")
        for folder in options.teacher_dir:
            check_same_part(folder, options)
        # Vocabulary and first embeddings come from the first.
        loaded = [
            load_teacher(folder, task, "--teacher_dir", is_bert=number == 0)
            for number, folder in enumerate(options.teacher_dir)
        ]
        rows = rows_to_augment(options, data, options.seed, options.skip_bad_rows)
        student = build_student(options, replace(data, train=rows), loaded[0])

        def make_transfer_set() -> TransferSet:
            if options.transfer_set:
                words = options.whole_words(task)
                return transfer_set_from_path(
                    options.transfer_set, task, student.tokenizer, words, options.skip_bad_rows
                )
            return transfer_set(options, rows, task, student.tokenizer, options.seed, options.cache())

        transfer = main_first(run.world, make_transfer_set)
        run.open()
        run.taught_by(loaded)
        run.say(f"{more_rows(data.train, rows)}; {transfer_size(options, len(rows), len(transfer))}")
        run.say(f"student: {student.parameters / 1e6:.1f} M parameters")
        with Teachers(loaded, options.teacher_weights, options.cache(), options.teacher_precision) as teachers:
            logits, spent = main_first(run.world, lambda: teachers.logits(transfer, "the transfer set"))
            columns = student.encoder.arrange(transfer.encode(student.tokenizer)).with_(
                teacher_logits=logits, labels=transfer.labels
            )
            step = distillation_step(student.model, options.alpha, options.distill_loss, options.temperature)
            record = train_classifier(
                run,
                student,
                columns,
                step,
                data,
                options.batch_size,
                options.max_epoch,
                options.lr,
                options.optimizer,
            )
            dev = in_memory(data.dev, student.tokenizer)
            on_dev, _ = main_first(run.world, lambda: teachers.logits(dev, "dev"))
        answers = predict_logits(
            dygraph_forward(student.model), student.encoder.encode(data.dev.texts), student.encoder.pad_id
        )
        record |= {
            "transfer_rows": len(transfer),
            "skipped_unlabeled_rows": rows.skipped - data.train.skipped,
            "teacher": spent,
            "dev_with_teacher": agreement(answers, on_dev, task.is_regression),
        }
        return run.finish(student, record, lambda trained: write_predictions(run.path, trained, test))


def transfer_size(options: DistillOptions, rows: int, found: int) -> str:
    """A line on how many rows a transfer set has, and why they are fewer than rows and copies together."""
    shown = f"transfer set: {found:,} rows"
    dropped = rows * (1 + options.n_iter) - found
    if options.transfer_set or dropped <= 0:
        return shown
    return f"{shown} ({rows:,} and {options.n_iter} copies of each, less {dropped:,} duplicates)"
