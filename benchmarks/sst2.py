"""The main job on SST-2: teacher, Bi-LSTM alone, distilled Bi-LSTM; three seeds of each student.

    python -m benchmarks.sst2 --data_dir DIR

Checkpoints are chosen on 2 % of the training rows, dev is only reported. All distilled students learn from one
transfer set: the training rows, sentences of reviews without labels, and augmented copies of both.
They are trained by the scripts that users start, ``--jobs`` at a time. Every stage is found again when it has finished,
and goes on from its checkpoint when it was interrupted.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.common import parser, work_dir, write_result
from benchmarks.recipe import DEFAULTS, SEEDS, correct_rows, read_metrics, run
from console import run_script, say
from demo import ALONE, STUDENT, TEACHER

DISTILLED = {"max_epoch": 3, "n_iter": 5, "eval_steps": 1000}
REVIEWS = ("reviews_imdb.txt", "reviews_yelp.txt", "reviews_amazon.txt")


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--jobs", type=int, default=2, help="students trained at the same time")
    made.add_argument("--reviews_dir", default="../shared/data/en_corpus", help=f"folder with {', '.join(REVIEWS)}")
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    figures = measure(arguments)
    write_result("sst2", arguments, figures, time.perf_counter() - began)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All runs and their summary."""
    from core.metrics import gap_closed
    from distill_lstm.options import DistillOptions

    folder = work_dir(arguments.work_dir) / "sst-2"
    data_dir = arguments.data_dir
    shared = {"task_name": "sst-2", "data_dir": data_dir, "cache_dir": str(folder / "cache"), "resume": True}
    teacher = folder / "teacher"
    run("finetune.run_classifier", {**shared, **TEACHER, "output_dir": str(teacher)}, jobs=1)
    student = {**shared, **STUDENT, "teacher_dir": str(teacher)}
    transfer, transfer_rows, seconds = prepare_transfer(folder, data_dir, arguments.reviews_dir)
    settings = {k: v for k, v in DISTILLED.items() if k != "n_iter"}
    jobs = []
    for seed in SEEDS:
        alone = {**student, **ALONE, "seed": seed, "output_dir": str(folder / f"alone-{seed}")}
        distilled = {**student, **settings, "seed": seed, "output_dir": str(folder / f"distilled-{seed}")}
        jobs += [("distill_lstm.bert_distill", {**distilled, "transfer_set": transfer}), ("distill_lstm.small", alone)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda job: run(*job, jobs=arguments.jobs), sorted(jobs, key=lambda job: job[0])))
    figures: dict[str, Any] = {
        "settings": {
            "teacher": TEACHER,
            "student": STUDENT,
            "alone": ALONE,
            "distilled": {**DISTILLED, "unlabeled_file": REVIEWS, "split_sentences": True},
            "defaults": {name: getattr(DistillOptions, name) for name in DEFAULTS},
        },
        "teacher": _one(teacher, data_dir),
        "alone": _many([folder / f"alone-{seed}" for seed in SEEDS], data_dir),
        "distilled": _many([folder / f"distilled-{seed}" for seed in SEEDS], data_dir),
        "transfer_rows": transfer_rows,
        "teacher_outputs_seconds": seconds,
        "students_at_a_time": arguments.jobs,
    }
    figures["gap_closed"] = gap_closed(*(figures[name]["accuracy"] for name in ("teacher", "alone", "distilled")))
    return figures


def prepare_transfer(folder: Path, data_dir: str, reviews_dir: str) -> tuple[str, int, float]:
    """The transfer set and the teacher's outputs for it, both before the students compete for the cores.

    Returns:
        Its folder, its rows, and the seconds that the teacher took when the outputs were computed.
    """
    from core.teacher import teacher_outputs
    from data.augment import Augmentation
    from data.sources import join_rows, load_task_data, read_unlabeled
    from data.tasks import get_task
    from data.transfer import build_transfer_set
    from models.folder import load

    teacher = load(folder / "teacher")
    data = load_task_data(get_task("sst-2"), data_dir, holdout=STUDENT["holdout"], seed=0)
    more = read_unlabeled([os.path.join(reviews_dir, name) for name in REVIEWS], data.task, split=True)
    name = f"transfer-reviews-{DISTILLED['n_iter']}"
    target, record = folder / name, folder / f"{name}.json"
    how = Augmentation(n_iter=DISTILLED["n_iter"])
    transfer = build_transfer_set(join_rows([data.train, more]), teacher.tokenizer, how, 0, target, whole_words=False)
    outputs = teacher_outputs(teacher, transfer, folder / "cache")
    if outputs.computed:
        record.write_text(json.dumps(outputs.seconds), encoding="utf-8")
    seconds = json.loads(record.read_text(encoding="utf-8"))
    say(f"transfer set: {len(transfer):,} rows, also of {len(more):,} review sentences; teacher: {seconds:.0f} s")
    return str(target), len(transfer), seconds


def _one(folder: Path, data_dir: str) -> dict[str, Any]:
    from core.metrics import bootstrap_interval

    metrics = read_metrics(folder)
    return {
        "accuracy": metrics["dev"]["accuracy"],
        "bootstrap_95": bootstrap_interval(correct_rows(folder, data_dir)[0]),
        "held_out_accuracy": metrics["training"]["score"],
        "parameters": metrics["parameters"],
        "rows_visited": metrics["training"]["rows"],
        "training_minutes": round(metrics["training"]["seconds"] / 60, 1),
    }


def _many(folders: list[Path], data_dir: str) -> dict[str, Any]:
    import numpy as np

    from core.metrics import bootstrap_interval

    runs = [read_metrics(folder) for folder in folders]
    accuracies = [run["dev"]["accuracy"] for run in runs]
    # The interval is that of the mean over the seeds, so rows are drawn with all seeds' answers together.
    correct = np.mean([correct_rows(folder, data_dir)[0] for folder in folders], axis=0)
    return {
        "accuracy": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies),
        "per_seed": dict(zip(map(str, SEEDS), accuracies, strict=True)),
        "bootstrap_95": bootstrap_interval(correct),
        "held_out_accuracy": [run["training"]["score"] for run in runs],
        "chosen": [run["training"]["chosen"] for run in runs],
        "parameters": runs[0]["parameters"],
        "rows_visited": runs[0]["training"]["rows"],
        "training_minutes": [round(run["training"]["seconds"] / 60, 1) for run in runs],
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
