"""The main job on SST-2: teacher, Bi-LSTM alone, distilled Bi-LSTM; three seeds of each student.

    python -m benchmarks.sst2 --data_dir DIR --reviews_dir DIR

With ``--teachers 3`` two more teachers are trained, and the mean of the three's answers teaches.
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
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks import recipe
from benchmarks.common import parser, work_dir, write_result
from console import run_script
from core.arithmetic import FP32
from demo import ALONE, STUDENT, TEACHER

# The seed of a teacher that is told none.
TEACHER_SEED = 42
AVERAGED = "averaged"
COPIES = {"n_iter": 5}
DISTILLED = {"max_epoch": 3, "eval_steps": 1000}
REVIEWS = ("reviews_imdb.txt", "reviews_yelp.txt", "reviews_amazon.txt")


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--jobs", type=int, default=2, help="students trained at the same time")
    made.add_argument("--teachers", type=int, default=1, choices=(1, 3), help="3: the mean of three teachers teaches")
    recipe.add_precision(made)
    recipe.add_seeds(made)
    made.add_argument("--reviews_dir", required=True, help=f"folder with {', '.join(REVIEWS)}")
    arguments = made.parse_args(argv)
    recipe.check_precision(arguments.precision)
    seeds = recipe.distinct(arguments.seeds)
    began = time.perf_counter()
    figures, minutes = measure(arguments, seeds)
    # What earlier commands trained counts too.
    seconds = max(60 * minutes, time.perf_counter() - began)
    name = "sst2" if arguments.teachers == 1 else "sst2_averaged"
    write_result(name, arguments, figures, seconds, script="sst2")


def plan(reviews_dir: str, teachers: int = 1, precision: str = FP32) -> recipe.Plan:
    """What is trained."""
    files = tuple(os.path.join(reviews_dir, name) for name in REVIEWS)
    made = {**COPIES, "unlabeled_file": files, "split_sentences": True}
    name = "distilled" if teachers == 1 else AVERAGED
    return recipe.Plan(
        "sst-2", TEACHER, STUDENT, ALONE, DISTILLED, {name: made}, range(1, teachers), precision=precision
    )


def measure(arguments: argparse.Namespace, seeds: tuple[int, ...]) -> tuple[dict[str, Any], float]:
    """All runs: their summary, and what their trainings and the teacher's answers took, in minutes."""
    folder = work_dir(arguments.work_dir) / f"sst-2{recipe.suffix(arguments.precision)}"
    made = replace(plan(arguments.reviews_dir, arguments.teachers, arguments.precision), seeds=seeds)
    found = recipe.measure(made, arguments.data_dir, folder, arguments.jobs)
    settings, (transfer,) = found["settings"], made.transfer_sets
    asked = found["transfer_sets"][transfer]["teacher_seconds"]
    figures = {
        "settings": {**settings, "distilled": {**settings["distilled"], **settings.pop("transfer_sets")[transfer]}},
        "teacher": accuracies(found["teacher"], [TEACHER_SEED, *made.more_teachers]),
        "alone": accuracies(found["alone"], seeds),
        "distilled": accuracies(found[transfer], seeds),
        **({"together": found["together"]["dev"]["accuracy"]} if "together" in found else {}),
        "transfer_rows": found["transfer_sets"][transfer]["rows"],
        "teacher_outputs_seconds": asked,
        "students_at_a_time": arguments.jobs,
        "gap_closed": found["gap_closed"][transfer]["accuracy"],
    }
    return figures, recipe.training_minutes(found, arguments.jobs) + (asked or 0) / 60


def accuracies(record: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """The record of one run or of several, with accuracy as its only metric."""
    found = {
        "accuracy": record["dev"]["accuracy"],
        "bootstrap_95": record["bootstrap_95"],
        "held_out_accuracy": record["held_out"],
        **{name: record[name] for name in ("parameters", "rows_visited", "training_minutes")},
    }
    if "per_seed" not in record:
        return found
    per_seed = dict(zip(map(str, seeds), record["per_seed"]["accuracy"], strict=True))
    deviation = record["standard_deviation"]["accuracy"]
    return {**found, "standard_deviation": deviation, "per_seed": per_seed, "chosen": record["chosen"]}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
