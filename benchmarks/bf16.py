"""bf16: how much faster a teacher answers, how far from fp32, and what trainings come to; three seeds each.

    python -m benchmarks.bf16 --data_dir DIR

For a processor that multiplies bf16. The teacher is that of benchmarks.sst2; students learn from its answers to
training rows of SST-2 and a copy of each, in both number formats, and in bf16 themselves; BERTs are fine-tuned on a
part of the rows in both. Seeds and rows are the same.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import recipe
from benchmarks.common import Side, alternate, parser, work_dir, write_result
from console import InputError, run_script
from core.arithmetic import BF16, FP32, PRECISIONS
from demo import STUDENT

ROWS = {"n_iter": 1, "max_train_rows": 20000, "holdout": 0.02}
LEARNT = {"max_epoch": 4, "eval_steps": 250}
FINE_TUNED = {
    "max_train_rows": 8000,
    "holdout": 0.02,
    "batch_size": 32,
    "learning_rate": 6e-5,
    "num_train_epochs": 2,
    "warmup_proportion": 0.06,
    "weight_decay": 0.01,
}
# In what a student's teacher answers, and in what the student is trained.
STUDENTS = {"fp32": (FP32, FP32), "bf16": (BF16, FP32), "bf16, trained in bf16": (BF16, BF16)}


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--jobs", type=int, default=2, help="students trained at the same time")
    arguments = made.parse_args(argv)
    recipe.check_precision(BF16, named="bf16")
    began = time.perf_counter()
    folder = work_dir(arguments.work_dir) / "sst-2"
    teacher, place = folder / "teacher", folder / "bf16"
    if not (teacher / "metrics.json").is_file():
        raise InputError(f"{teacher}: no teacher here yet; run python -m benchmarks.sst2 first")
    transfer = place / "transfer"
    words = {"task_name": "sst-2", "data_dir": arguments.data_dir, "seed": 0, **ROWS, "output_file": str(transfer)}
    recipe.once("distill_lstm.augment_data", words, where="output_file")
    figures = {
        "settings": {"rows": ROWS, "student": {**STUDENT, **LEARNT}, "fine-tuning": FINE_TUNED},
        "passes": passes(teacher, transfer, arguments.seed, arguments.rounds),
        "outputs": distance(teacher, transfer, place / "cache"),
        "students": students(teacher, transfer, place, arguments.data_dir, arguments.jobs),
        "fine-tuned": fine_tuned(place, arguments.data_dir, arguments.jobs),
        "at_a_time": arguments.jobs,
    }
    write_result("bf16", arguments, figures, time.perf_counter() - began)


def passes(teacher: Path, transfer: Path, seed: int, rounds: int) -> dict[str, Any]:
    """Rows a second in both formats, in turns."""
    shared = {"teacher_dir": str(teacher), "transfer_dir": str(transfer), "seed": seed, "rows": 8192}
    sides = [
        Side(name, "benchmarks.sides:our_teacher", {**shared, "precision": name}, dict(os.environ))
        for name in PRECISIONS
    ]
    rates = {name: found["rows_per_second"] for name, found in alternate(sides, rounds).items()}
    return {"rows_per_second": rates, "ratio": rates[BF16] / rates[FP32]}


def distance(teacher: Path, transfer: Path, cache: Path) -> dict[str, float]:
    """How far the answers are from those in fp32, as students will read them."""
    import numpy as np

    from core.metrics import agreement
    from core.teacher import Teacher
    from data.transfer import load_transfer_set
    from models.folder import load

    said = {}
    for name in PRECISIONS:
        with Teacher(load(teacher), cache, precision=name) as asked:
            said[name] = asked.outputs(load_transfer_set(transfer)).logits.astype(np.float64)
    apart = np.abs(said[BF16] - said[FP32])
    return {
        **agreement(said[BF16], said[FP32]),
        "mean_absolute": float(apart.mean()),
        "largest": float(apart.max()),
        "spread_of_logits": float(said[FP32].std()),
    }


def students(teacher: Path, transfer: Path, place: Path, data_dir: str, jobs: int) -> dict[str, Any]:
    """Bi-LSTMs by answers of both formats, and in bf16 themselves."""
    shared: Mapping[str, Any] = {
        **STUDENT, **LEARNT, "task_name": "sst-2", "data_dir": data_dir, "cache_dir": str(place / "cache"),
        "teacher_dir": str(teacher), "transfer_set": str(transfer), "resume": True,
        "max_train_rows": ROWS["max_train_rows"],
    }  # fmt: skip
    named = {name: [place / f"student-{name.replace(', ', '-')}-{seed}" for seed in recipe.SEEDS] for name in STUDENTS}
    work = [
        {**shared, "seed": seed, "teacher_precision": asked, "precision": trained, "output_dir": str(folder)}
        for name, (asked, trained) in STUDENTS.items()
        for seed, folder in zip(recipe.SEEDS, named[name], strict=True)
    ]
    recipe.run_all([("distill_lstm.bert_distill", options) for options in work], jobs)
    return compared(named, data_dir)


def fine_tuned(place: Path, data_dir: str, jobs: int) -> dict[str, Any]:
    """BERTs that were fine-tuned in both formats."""
    shared = {**FINE_TUNED, "task_name": "sst-2", "data_dir": data_dir, "resume": True}
    named = {name: [place / f"bert-{name}-{seed}" for seed in recipe.SEEDS] for name in PRECISIONS}
    work = [
        {**shared, "seed": seed, "precision": name, "output_dir": str(folder)}
        for name, folders in named.items()
        for seed, folder in zip(recipe.SEEDS, folders, strict=True)
    ]
    recipe.run_all([("finetune.run_classifier", options) for options in work], jobs)
    return compared(named, data_dir)


def compared(named: Mapping[str, list[Path]], data_dir: str) -> dict[str, Any]:
    """The records of runs with several seeds, and by how much each is above those in fp32."""
    found = {name: recipe.many(folders, data_dir) for name, folders in named.items()}
    means = {name: record["dev"]["accuracy"] for name, record in found.items()}
    return {**found, "difference": {name: mean - means[FP32] for name, mean in means.items() if name != FP32}}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
