"""Task distillation: a student's layers learn from its teacher's, then its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from console import InputError
from core.classifier import distillation_step, found_again, read_data, train_classifier
from core.distributed import from_main, main_first, wait
from core.evaluate import dygraph_forward, predict_logits
from core.layer_loss import LayerLoss, LayerStep, Projections, unreached_frozen
from core.metrics import Selection, agreement
from core.predictions import write_predictions
from core.recorded import check_same_part
from core.run import Run, training_record
from core.teacher import Teachers, load_teacher
from core.teacher_features import TeacherFeatures
from data.batches import Batches
from data.columns import Columns, token_ids
from data.learning import rows_with_more
from data.sources import TaskData
from data.transfer import TransferSet, in_memory, learning_columns
from models.folder import LoadedModel, check_length, load
from models.occurring import occurring_rows
from tinybert.augment import augmented_set
from tinybert.options import StoredLayerOptions, TaskDistillOptions
from tinybert.student import Student, build_student

SCRIPT = "tinybert.task_distill"
# Rows on which the first projection is fitted, where it is not known.
FITTED_ROWS = 256


def distill(options: TaskDistillOptions) -> dict[str, Any]:
    """Distils stage after stage, each in a folder of its own below ``output_dir``, which receives the last one's model.

    Returns:
        What ``metrics.json`` holds, see :class:`core.run.RunRecord`.
    """
    with Run.start(SCRIPT, options) as run:
        if run.finished:
            return found_again(run, options)
        data, test = read_data(run, options)
        for folder in (options.teacher_model, *options.more_teachers):
            check_same_part(folder, options)
        teacher = load_teacher(options.teacher_model, data.task, "--teacher_model")
        check_length(options.max_seq_length, teacher.model.config, data.task, options.teacher_model)
        # Both read the same tokens.
        teacher = replace(teacher, max_seq_length=options.max_seq_length)
        others = [load_teacher(folder, data.task, "--more_teachers", False) for folder in options.more_teachers]
        if data.task.is_regression:
            for name in ("prediction_loss", "temperature", "over_classes"):
                if name in options.given and (value := getattr(options, name)) != "mse":
                    raise InputError(f"--{name} {value}: {data.task.name} predicts a number, by squared error")
        student = build_student(options, teacher, options.seed, options.cache())
        loss = None
        if "intermediate" in options.stages:
            loss = LayerLoss.of(options, teacher.model.config, student.loaded.model.config)
        sets = sets_to_learn_from(options, data, [teacher, *others], run)
        run.open()
        run.taught_by([teacher, *others])
        loaded = student.loaded
        run.say(f"student: {loaded.parameters / 1e6:.1f} M parameters; starts from {student.start}")
        metrics: Any = {}
        for name in options.stages:
            # Every stage is found again when it has ended, and goes on from its checkpoint when it was interrupted.
            stage = run.stage(name, stage=name, do_predict=False)
            if stage.finished:
                metrics = stage.earlier_metrics()
                run.say(f"{stage.path}: this stage had finished")
            elif loss is not None and name == "intermediate":
                metrics = train_layers(stage, student, teacher, loss, sets, data, options)
            else:
                metrics = train_answers(stage, loaded, [teacher, *others], sets, data, options)
            wait(run.world)
            trained = load(stage.path)
            loaded = replace(trained, task=loaded.task)
        whole: Any = {**metrics, "stages": list(options.stages)}
        return run.finish(loaded, whole, lambda found: write_predictions(run.path, found, test))


def sets_to_learn_from(
    options: TaskDistillOptions, data: TaskData, teachers: Sequence[LoadedModel], run: Run
) -> list[TransferSet]:
    """The training rows, those of a transfer set or without labels, and on demand augmented copies of all."""
    rows, sets, note = rows_with_more(
        data,
        # Several teachers read a text each in its own way.
        None if len(teachers) > 1 else teachers[0].tokenizer,
        options.transfer_set,
        options.unlabeled(),
        options.seed,
        options.skip_bad_rows,
    )
    if note:
        run.say(note)
    if options.aug_train:
        copies = main_first(
            run.world, lambda: augmented_set(options, rows, data.task, teachers[0], options.seed, options.cache())
        )
        run.say(f"with copies: {len(copies):,} rows")
        # The rows themselves are among the copies; those with labels come first all the same.
        sets = [sets[0], copies]
    return sets


def train_layers(
    stage: Run,
    start: Student,
    teacher: LoadedModel,
    loss: LayerLoss,
    sets: list[TransferSet],
    data: TaskData,
    options: TaskDistillOptions,
) -> dict[str, Any]:
    """The intermediate stage: embeddings, hidden states and attention come near the teacher's.

    Args:
        stage: its part of the run.
        start: the student, trained in place.
        teacher: in evaluation mode.
        loss: what is compared.
        sets: rows to learn from; no label is read.
        data: gives the rows whose loss chooses checkpoints.
        options: of the recipe.

    Returns:
        Its metrics.
    """
    student = start.loaded
    encoded = [student.encoder.arrange(rows.encode(student.tokenizer)) for rows in sets]
    columns, _ = learning_columns(sets, encoded, data.task.is_regression)
    rows = Columns({name: columns[name] for name in ("input_ids", "token_type_ids")})
    stage.open()
    epochs, rate = options.schedule_of("intermediate")
    stage.say(f"\nintermediate stage: {rows.rows:,} rows, {epochs} epoch(s); {', '.join(loss.weights)}")
    with TeacherFeatures(teacher, options.cache(), loss.wanted(0), precision=options.teacher_precision) as features:
        held_out = student.encoder.encode(data.validation.texts)
        record: Any = fit_layers(
            stage,
            start,
            features,
            loss,
            rows,
            held_out,
            options,
            options.batch_size,
            epochs,
            rate,
            options.optimizer,
        )
    record |= {
        "task": data.task.name,
        "train_rows": len(data.train),
        "learning_rows": rows.rows,
        "skipped_rows": data.train.skipped + data.dev.skipped,
        "selected_on": "dev" if data.validation is data.dev else "held-out training rows",
    }
    return stage.finish(student, record)


def passes(options: Any, rows: int, batch_size: int, epochs: int) -> float:
    """How often a training reads a row: less than its epochs where ``--max_steps`` ends it before them.

    Args:
        options: of the training.
        rows: that it learns from.
        batch_size: rows of a batch over all processes.
        epochs: that it has at most.
    """
    if not options.max_steps:
        return epochs
    return min(epochs, options.max_steps * options.gradient_accumulation_steps * batch_size / rows)


def fit_layers(
    run: Run,
    start: Student,
    features: TeacherFeatures,
    loss: LayerLoss,
    rows: Columns,
    held_out: Columns,
    options: StoredLayerOptions,
    batch_size: int,
    epochs: int,
    learning_rate: float,
    optimizer: str,
) -> dict[str, Any]:
    """Trains a student's layers; what both distillations, on raw text and on a task, share.

    Args:
        run: whose folder receives checkpoints and log.
        start: the student, trained in place.
        features: of the teacher.
        loss: what is compared.
        rows: to learn from.
        held_out: rows whose loss chooses checkpoints.
        options: say what room the teacher's features may take, and how the student's states are projected.
        batch_size: rows of a batch over all processes.
        epochs: passes over the rows.
        learning_rate: at its peak.
        optimizer: see :data:`core.optim.OPTIMIZERS`.

    Returns:
        The record of the training.
    """
    student, pad_id = start.loaded, start.loaded.encoder.pad_id
    first = start.projection
    if first is None:
        first = np.zeros((student.model.config.hidden_size, features.loaded.model.config.hidden_size), np.float32)
    projections = Projections(first, [s for _, s in loss.pairs], options.projection == "shared")
    step = LayerStep(student.model, features, loss, projections)  # type: ignore[arg-type]
    read = passes(run.options, rows.rows, batch_size, epochs)
    batches = run.batches(features.columns(rows, options.budget(read), run.world), batch_size, pad_id)
    judged = Batches(held_out, batch_size, pad_id, shuffle=False)
    if start.projection is None:
        some = Batches(rows.slice(0, min(FITTED_ROWS, rows.rows)), batch_size, pad_id, shuffle=False)
        fitted = step.fit_projections(some)
        # One for all processes, to the last digit.
        projections.set({state: from_main(run.world, matrix) for state, matrix in fitted.items()})
    read = token_ids(student.model.config.vocab_size, rows, held_out)
    with unreached_frozen(student.model, loss.reached), occurring_rows(student.model, read):  # type: ignore[arg-type]
        result = run.fit(
            student.model,
            batches,
            step,
            lambda: step.mean(judged),
            Selection("loss", lower_is_better=True),
            epochs,
            learning_rate,
            optimizer,
            beside=projections,
        )
    return {
        "training": training_record(result),
        "layers": step.mean(judged),
        "selection_rows": held_out.rows,
        "processes": run.world.size,
    }


def train_answers(
    stage: Run,
    student: LoadedModel,
    teachers: Sequence[LoadedModel],
    sets: list[TransferSet],
    data: TaskData,
    options: TaskDistillOptions,
) -> dict[str, Any]:
    """The prediction stage: the student's answers come near the mean of the teachers'.

    Args:
        stage: its part of the run.
        student: trained in place.
        teachers: in evaluation mode.
        sets: rows to learn from; those with labels first.
        data: gives the rows that choose checkpoints, and dev.
        options: of the recipe.

    Returns:
        Its metrics.
    """
    task = data.task
    stage.open()
    epochs, rate = options.schedule_of("prediction")
    with Teachers(teachers, options.teacher_weights, options.cache(), options.teacher_precision) as asked:

        def answers_to(rows: TransferSet, what: str) -> tuple[np.ndarray, dict[str, float]]:
            return main_first(stage.world, lambda: asked.logits(rows, what))

        names = ["the training rows", "further rows"]
        found = [answers_to(rows, what) for rows, what in zip(sets, names, strict=False)]
        dev, _ = answers_to(in_memory(data.dev, None), "dev")
    encoded = [
        student.encoder.arrange(rows.encode(student.tokenizer)).with_(teacher_logits=logits)
        for rows, (logits, _) in zip(sets, found, strict=True)
    ]
    columns, _ = learning_columns(sets, encoded, task.is_regression)
    stage.say(f"\nprediction stage: {columns.rows:,} rows, {epochs} epoch(s)")
    kind = "mse" if task.is_regression else options.prediction_loss
    step = distillation_step(student.model, options.alpha, kind, options.temperature, options.over_classes)
    record: Any = train_classifier(
        stage, student, columns, step, data, options.batch_size, epochs, rate, options.optimizer
    )
    answers = predict_logits(
        dygraph_forward(student.model), student.encoder.encode(data.dev.texts), student.encoder.pad_id
    )
    record |= {
        "learning_rows": columns.rows,
        "teacher": {name: float(np.sum([spent[name] for _, spent in found])) for name in ("computed_rows", "seconds")},
        "dev_with_teacher": agreement(answers, dev, task.is_regression),
    }
    return stage.finish(student, record)
