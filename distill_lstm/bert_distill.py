"""Distils a fine-tuned BERT into a Bi-LSTM over augmented rows (Tang et al. 2019).

    python -m distill_lstm.bert_distill --task_name sst-2 --data_dir DIR --teacher_dir outputs/teacher \\
        --output_dir outputs/student
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from typing import TYPE_CHECKING, Any

from args import parse
from console import InputError, run_script, say
from distill_lstm.options import DistillOptions

if TYPE_CHECKING:
    from data.sources import Rows, TaskData
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

    from core.classifier import finish, load_data, train_classifier, training_world
    from core.distributed import main_first
    from core.losses import distillation_losses
    from core.teacher import current_device, teacher_outputs
    from core.train import LoopSettings
    from distill_lstm.student import build_student, token_ids
    from models.bilstm import occurring_rows
    from models.folder import load

    world, folder = training_world(SCRIPT, options)
    if folder.finished:
        return finish(folder, None)
    data = load_data(options, world)
    if data.task.is_regression and options.distill_loss != "mse":
        raise InputError(f"--distill_loss {options.distill_loss}: {data.task.name} predicts a number; use mse")
    rows = rows_to_augment(options, data)
    teacher = load(options.teacher_dir)
    if teacher.model.model_type != "bert":
        raise InputError(f"--teacher_dir {options.teacher_dir}: expected a BERT, this is a {teacher.model.model_type}")
    if teacher.task.labels != data.task.labels:
        raise InputError(
            f"--teacher_dir {options.teacher_dir}: its labels are {teacher.task.labels}, the task's {data.task.labels}"
        )
    if teacher.task.is_pair != data.task.is_pair:
        raise InputError(
            f"--teacher_dir {options.teacher_dir}: one of teacher and task reads pairs, the other single texts"
        )
    student = build_student(options, data, teacher)
    transfer = main_first(world, lambda: transfer_set(options, rows, student))
    if world.is_main:
        folder.open(SCRIPT, options)
        say(f"student: {student.parameters / 1e6:.1f} M parameters; transfer set: {len(transfer):,} rows")
    outputs = main_first(world, lambda: teacher_outputs(teacher, transfer, options.cache(), current_device()))
    if world.is_main:
        how = f"computed in {outputs.seconds:.1f} s" if outputs.computed else "found in the cache"
        say(f"teacher outputs: {outputs.unique:,} different rows, {how}")
    columns = {
        **student.encoder.arrange(transfer.encode(student.tokenizer)),
        "teacher_logits": outputs.logits,
        "labels": transfer.labels,
    }

    def step(batch):  # noqa: ANN001, ANN202
        logits = student.model.from_batch(batch)
        targets, labels = paddle.to_tensor(batch["teacher_logits"]), paddle.to_tensor(batch["labels"])
        return distillation_losses(logits, targets, labels, options.alpha, options.distill_loss, options.temperature)

    extra = {"transfer_rows": len(transfer), "teacher": {"computed_rows": outputs.computed, "seconds": outputs.seconds}}
    settings = LoopSettings(options.max_epoch, options.lr, options.optimizer)
    with occurring_rows(student.model, token_ids(columns, student, data)):
        metrics = train_classifier(student, columns, step, data, options, settings, world, extra)
    return finish(folder, metrics, student, world)


def rows_to_augment(options: DistillOptions, data: TaskData) -> Rows:
    """The training rows and the unlabelled ones."""
    from data.sources import join_rows, read_unlabeled

    if not options.unlabeled_file:
        return data.train
    more = read_unlabeled(options.unlabeled_file, data.task, options.skip_bad_rows, options.split_sentences)
    say(f"{len(more):,} rows without labels join the transfer set")
    return join_rows([data.train, more])


def transfer_set(options: DistillOptions, rows: Rows, student: LoadedModel) -> TransferSet:
    """The rows to learn from: those the user names, or ``rows`` with augmented copies, from the cache."""
    from data.augment import NGRAM_RANGE, Augmentation
    from data.transfer import build_transfer_set, transfer_key, transfer_set_from_path

    words = options.whole_word_mask or student.task.language == "zh"
    if options.transfer_set:
        return transfer_set_from_path(
            options.transfer_set, student.task, student.tokenizer, words, options.skip_bad_rows
        )
    how = Augmentation(
        n_iter=options.n_iter,
        p_mask=options.p_mask,
        p_ngram=options.p_ngram,
        ngram_range=tuple(options.ngram_range) or NGRAM_RANGE[student.task.language],  # type: ignore[arg-type]
    )
    key = transfer_key(rows, student.tokenizer, how, options.seed, words)
    folder = options.cache() / "transfer_sets" / key
    return build_transfer_set(rows, student.tokenizer, how, options.seed, folder, words)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
