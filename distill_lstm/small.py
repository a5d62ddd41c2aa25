"""Trains a Bi-LSTM on labels alone: what distillation is compared with.

python -m distill_lstm.small --task_name sst-2 --data_dir DIR --output_dir outputs/small
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from typing import Any

from args import parse
from console import run_script, say
from distill_lstm.options import SmallOptions

SCRIPT = "distill_lstm.small"


def main(argv: list[str]) -> None:
    """Parses the command line and trains."""
    train_small(parse(SmallOptions, argv, __doc__ or "", f"python -m {SCRIPT}"))


def train_small(options: SmallOptions) -> dict[str, Any]:
    """Trains a Bi-LSTM on labelled rows and writes a model folder.

    Returns:
        What ``metrics.json`` holds.
    """
    from core.classifier import finish, finished, label_step, load_data, train_classifier, training_world
    from core.train import LoopSettings
    from distill_lstm.student import build_student, token_ids
    from models.bilstm import occurring_rows
    from models.folder import load

    world, folder = training_world(SCRIPT, options)
    if folder.finished:
        return finished(folder, options)
    data = load_data(options, world)
    student = build_student(options, data, load(options.teacher_dir) if options.teacher_dir else None)
    if world.is_main:
        folder.open(SCRIPT, options)
        say(f"student: {student.parameters / 1e6:.1f} M parameters, on labels alone")
    columns = {**student.encoder.encode(data.train.texts), "labels": data.train.labels}
    settings = LoopSettings(options.max_epoch, options.lr, options.optimizer)
    with occurring_rows(student.model, token_ids(columns, student, data)):
        metrics = train_classifier(student, columns, label_step(student.model), data, options, settings, world)
    return finish(folder, metrics, student, world, data)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
