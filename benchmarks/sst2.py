"""The main job on SST-2: teacher, Bi-LSTM alone, distilled Bi-LSTM; three seeds of each student.

    python -m benchmarks.sst2 --data_dir DIR

Checkpoints are chosen on 2 % of the training rows, dev is only reported. Every stage is found again when it has
finished, and goes on from its checkpoint when it was interrupted.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import statistics
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.common import parser, work_dir, write_result
from console import run_script, say
from demo import ALONE, DISTILLED, STUDENT, TEACHER
from distill_lstm.options import DistillOptions, SmallOptions
from finetune.options import FinetuneOptions

SEEDS = (1, 2, 3)
SETTINGS = {"teacher": TEACHER, "student": STUDENT, "alone": ALONE, "distilled": DISTILLED}


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet and writes the result."""
    arguments = parser(__doc__ or "").parse_args(argv)
    began = time.perf_counter()
    figures = measure(arguments)
    write_result("sst2", arguments, figures, time.perf_counter() - began)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All runs and their summary."""
    from core.metrics import gap_closed
    from distill_lstm.bert_distill import distill
    from distill_lstm.small import train_small
    from finetune.run_classifier import finetune

    folder = work_dir(arguments.work_dir) / "sst-2"
    shared = {"task_name": "sst-2", "data_dir": arguments.data_dir, "cache_dir": str(folder / "cache"), "resume": True}
    teacher_dir = str(folder / "teacher")
    say("== teacher")
    teacher = finetune(FinetuneOptions(**shared, **TEACHER, output_dir=teacher_dir))
    student = {**shared, **STUDENT, "teacher_dir": teacher_dir}
    alone, distilled = [], []
    for seed in SEEDS:
        say(f"== seed {seed}")
        alone.append(train_small(SmallOptions(**student, **ALONE, seed=seed, output_dir=str(folder / f"alone-{seed}"))))
        settings = DistillOptions(**student, **DISTILLED, seed=seed, output_dir=str(folder / f"distilled-{seed}"))
        distilled.append(distill(settings))
    figures = {
        "settings": {**SETTINGS, "defaults": _defaults()},
        "teacher": _one(teacher, Path(teacher_dir), arguments.data_dir),
        "alone": _many(alone, [folder / f"alone-{seed}" for seed in SEEDS], arguments.data_dir),
        "distilled": _many(distilled, [folder / f"distilled-{seed}" for seed in SEEDS], arguments.data_dir),
    }
    accuracies = [figures[name]["accuracy"] for name in ("teacher", "alone", "distilled")]
    figures["gap_closed"] = gap_closed(*accuracies)
    return figures


def _defaults() -> dict[str, Any]:
    """What the students' options are where the settings name none."""
    shown = ("hidden_size", "num_layers", "dropout_prob", "alpha", "distill_loss", "p_mask", "p_ngram", "embedding_std")
    return {f.name: f.default for f in fields(DistillOptions) if f.name in shown}


def _one(metrics: dict[str, Any], folder: Path, data_dir: str) -> dict[str, Any]:
    from core.metrics import bootstrap_interval

    correct = correct_rows(folder, data_dir)
    training = metrics["training"]
    return {
        "accuracy": metrics["dev"]["accuracy"],
        "bootstrap_95": bootstrap_interval(correct),
        "held_out_accuracy": training["score"],
        "parameters": metrics["parameters"],
        "rows_visited": training["rows"],
        "training_minutes": round(training["seconds"] / 60, 1),
    }


def _many(runs: list[dict[str, Any]], folders: list[Path], data_dir: str) -> dict[str, Any]:
    import numpy as np

    from core.metrics import bootstrap_interval

    accuracies = [run["dev"]["accuracy"] for run in runs]
    # The interval is that of the mean over the seeds, so rows are drawn with all seeds' answers together.
    correct = np.mean([correct_rows(folder, data_dir) for folder in folders], axis=0)
    return {
        "accuracy": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
        "per_seed": dict(zip(map(str, SEEDS), accuracies, strict=True)),
        "bootstrap_95": bootstrap_interval(correct),
        "held_out_accuracy": [run["training"]["score"] for run in runs],
        "chosen": [run["training"]["chosen"] for run in runs],
        "parameters": runs[0]["parameters"],
        "rows_visited": runs[0]["training"]["rows"],
        "transfer_rows": runs[0].get("transfer_rows"),
        "training_minutes": [round(run["training"]["seconds"] / 60, 1) for run in runs],
        "teacher_outputs_seconds": [round(run["teacher"]["seconds"], 1) for run in runs if "teacher" in run],
    }


def correct_rows(folder: Path, data_dir: str):  # noqa: ANN201 - an array, whose library loads late
    """Whether a model is right on each dev row."""
    from core.evaluate import dygraph_forward, predict_logits
    from data.sources import find_split, read_rows
    from models.folder import load

    loaded = load(folder)
    rows, _ = read_rows(find_split(data_dir, "dev"), loaded.task)
    encoder = loaded.encoder
    logits = predict_logits(dygraph_forward(loaded.model), encoder.encode(rows.texts), encoder.pad_id)
    return logits.argmax(-1) == rows.labels


if __name__ == "__main__":
    raise SystemExit(run_script(main))
