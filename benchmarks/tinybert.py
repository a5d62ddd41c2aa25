"""TinyBERT on SST-2 or the QQP subset: students of two shapes, alone and distilled, and what each part brings.

    python -m benchmarks.tinybert --task sst-2 --data_dir DIR --reviews_dir DIR

The teacher is that of benchmarks.sst2 or benchmarks.tasks, and is fine-tuned here where it is not there yet. A student
*alone* learns from labels only, from random weights or from the teacher's layers, over the same labelled rows, with the
same learning rate and as many passes over them. Checkpoints are chosen on rows held out of train, dev is only reported.
The ablation gives every student as many steps. Every run is found again when it has finished, and goes on from its
checkpoint when it was interrupted; the result tells of the runs that are there.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import recipe
from benchmarks.common import parser, work_dir, write_result
from benchmarks.encoders import encoder_folder
from console import InputError, run_script, say
from demo import TEACHER

SEEDS, STAGES = (1, 2, 3), ("intermediate", "prediction")
SHAPES = {
    "4x312": {"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200, "num_attention_heads": 12},
    "3x384": {"num_hidden_layers": 3, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12},
}
REVIEWS = "reviews_imdb.txt"
# Rows that are learnt from, as those of benchmarks.ofa.
ROWS: dict[str, dict[str, Any]] = {
    "sst-2": {"holdout": 0.02, "max_train_rows": 20000, "eval_steps": 250},
    "qqp": {"holdout": 0.05, "eval_steps": 0},
}
SHARED = {
    "batch_size": 64,
    "learning_rate": 2e-4,
    "warmup_proportion": 0.06,
    "weight_decay": 0.01,
    "average_checkpoints": 3,
}
# Together as many passes over the rows as a student alone takes.
DISTILLED = {
    "stage": "both",
    "num_train_epochs": 1,
    "intermediate_epochs": 2,
    "intermediate_learning_rate": 5e-4,
}
ALONE = {"stage": "prediction", "alpha": 1.0, "num_train_epochs": 3}
# Steps of each stage in the ablation, and passes that are more than them.
ABLATION_STEPS = 300
COPIES = {"aug_train": True, "N": 2}
# The encoder of benchmarks.encoders stands for this name, where it has been trained.
MASKED_LM = {"pretrained_bert_model": "en"}
# What replaces words in them.
COPIED = {"neighbours": COPIES, "a masked LM": {**COPIES, **MASKED_LM}, "none": {}}
# Of these, with every seed: few rows, which is where copies are for.
SHORTER = {"max_steps": 150, "eval_steps": 50, "max_train_rows": 2500}
ABLATED = {**DISTILLED, "max_steps": ABLATION_STEPS, "num_train_epochs": 50, "intermediate_epochs": 50}


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--task", choices=tuple(ROWS), default="sst-2")
    made.add_argument("--reviews_dir", default=None, help=f"folder with {REVIEWS}, for sst-2")
    made.add_argument("--jobs", type=int, default=2, help="students trained at the same time")
    made.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=list(SHAPES))
    made.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    made.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=["students", "ablation"])
    made.add_argument("--runs", nargs="+", default=None, help="train these alone, such as 4x312-distilled-2")
    made.add_argument("--only_report", action="store_true", help="train nothing: write what is there")
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    folder = work_dir(arguments.work_dir) / arguments.task
    teacher = teacher_of(arguments, folder)
    runs = [run for part, made in PARTS.items() if part in arguments.parts for run in made(arguments)]
    earlier = finished_seconds(folder, [name for name, _ in runs])
    if not arguments.only_report:
        known = [name for name, _ in runs]
        if unknown := [name for name in arguments.runs or [] if name not in known]:
            raise InputError(f"--runs {unknown[0]}: expected some of {', '.join(known)}")
        train([run for run in runs if run[0] in (arguments.runs or known)], arguments, folder, teacher)
    # What the figures took, whoever started the runs.
    seconds = earlier / arguments.jobs + time.perf_counter() - began
    arguments.only_report, arguments.runs = False, None
    found = figures(arguments, folder, teacher, [name for name, _ in runs])
    name = f"tinybert_{arguments.task.replace('-', '')}" + ("_copies" if arguments.parts == ["copies"] else "")
    write_result(name, arguments, found, seconds, script="tinybert")


def finished_seconds(folder: Path, names: list[str]) -> float:
    """The training time of runs that were finished before."""
    from core.checkpoint import read_metrics

    places = [folder / "tinybert" / name.replace(" ", "_") / stage for name in names for stage in STAGES]
    return sum(read_metrics(place)["training"]["seconds"] for place in places if (place / "metrics.json").is_file())


def teacher_of(arguments: argparse.Namespace, folder: Path) -> Path:
    """The fine-tuned teacher that all measurements share."""
    teacher = folder / "teacher"
    if not (teacher / "metrics.json").is_file():
        if arguments.task != "sst-2":
            raise InputError(f"{teacher}: no teacher here yet; run python -m benchmarks.tasks --task qqp first")
        place = {"data_dir": arguments.data_dir, "cache_dir": str(folder / "cache"), "output_dir": str(teacher)}
        recipe.run("finetune.run_classifier", {"task_name": "sst-2", "resume": True, **place, **TEACHER}, jobs=1)
    return teacher


def more_rows(arguments: argparse.Namespace) -> dict[str, Any]:
    """Rows without labels, which the teacher answers."""
    if arguments.task == "qqp":
        # Questions of train that meet other ones: four rows out of one, which is what two cores manage three times.
        return {"repair_pairs": 1}
    if not arguments.reviews_dir:
        raise InputError(f"--reviews_dir is required: a folder with {REVIEWS}")
    return {"unlabeled_file": (os.path.join(arguments.reviews_dir, REVIEWS),), "split_sentences": True}


def students(arguments: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """Every shape, with every seed: distilled, and alone from the teacher's layers and from random weights."""
    found = []
    for seed in arguments.seeds:
        for shape in arguments.shapes:
            own = {"seed": seed, **SHAPES[shape]}
            found.append((f"{shape}-distilled-{seed}", {**own, **DISTILLED, **more_rows(arguments)}))
            found.append((f"{shape}-alone-teacher-{seed}", {**own, **ALONE}))
            found.append((f"{shape}-alone-random-{seed}", {**own, **ALONE, "init": "random"}))
    return found


def ablation(arguments: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """The first shape with the first seed, without one part or another, all with as many steps of each stage."""
    own = {"seed": arguments.seeds[0], **SHAPES["4x312"]}
    prediction = {k: v for k, v in ABLATED.items() if not k.startswith("intermediate")}
    more = more_rows(arguments)
    return [
        ("ablation-all", {**own, **ABLATED, **more}),
        ("ablation-principal directions", {**own, **ABLATED, **more, "hidden_init": "principal"}),
        ("ablation-random weights", {**own, **ABLATED, **more, "init": "random"}),
        ("ablation-after raw text", {**ABLATED, **more, "seed": own["seed"], "student_model": "general"}),
        ("ablation-no intermediate stage", {**own, **prediction, **more, "stage": "prediction"}),
        ("ablation-no rows without labels", {**own, **ABLATED}),
        ("ablation-copies instead", {**own, **ABLATED, **COPIES}),
        ("ablation-copies by a masked LM", {**own, **ABLATED, **COPIES, **MASKED_LM}),
        ("ablation-labels instead of answers", {**own, **ABLATED, **more, "alpha": 1.0}),
    ]


def copies(arguments: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """What replaces words in copies of rows, with every seed, and rows alone; all with as many steps of each stage."""
    return [
        (f"copies-{name}-{seed}", {"seed": seed, **SHAPES["4x312"], **ABLATED, **SHORTER, **options})
        for name, options in COPIED.items()
        for seed in arguments.seeds
    ]


PARTS = {"students": students, "ablation": ablation, "copies": copies}


def train(runs: list[tuple[str, dict[str, Any]]], arguments: argparse.Namespace, folder: Path, teacher: Path) -> None:
    """Runs what is not there yet, ``--jobs`` at a time."""
    shared = {
        "task_name": arguments.task,
        "data_dir": arguments.data_dir,
        "teacher_model": str(teacher),
        "cache_dir": str(folder / "cache"),
        "resume": True,
        **ROWS[arguments.task],
        **SHARED,
    }
    place = folder / "tinybert"
    if any(options.get("student_model") == "general" for _, options in runs):
        general = {
            "text": (arguments.reviews_dir or arguments.data_dir,),
            "output_dir": str(place / "general"),
            "cache_dir": str(folder / "cache"),
            "resume": True,
            "seed": arguments.seeds[0],
            "num_train_epochs": 1,
            "max_steps": 2 * ABLATION_STEPS,
            "max_seq_length": 64,
            "batch_size": 32,
            "learning_rate": 5e-4,
            "eval_steps": ABLATION_STEPS,
            **SHAPES["4x312"],
        }
        recipe.run("tinybert.general_distill", general, jobs=1)
    jobs = []
    encoder = encoder_folder(folder.parent / "encoders", "en")
    for name, options in runs:
        if options.get("pretrained_bert_model") == MASKED_LM["pretrained_bert_model"]:
            if not (encoder / "metrics.json").is_file():
                say(f"{name}: left out; run python -m benchmarks.encoders --language en --trained all first")
                continue
            options = {**options, "pretrained_bert_model": str(encoder)}
        if options.get("student_model") == "general":
            options = {**options, "student_model": str(place / "general")}
        jobs.append({**shared, **options, "output_dir": str(place / name.replace(" ", "_"))})
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda job: recipe.run("tinybert.task_distill", job, jobs=arguments.jobs), jobs))


def record(folder: Path, name: str) -> dict[str, Any] | None:
    """What a run has come to, when it has ended."""
    from core.checkpoint import read_metrics

    place = folder / "tinybert" / name.replace(" ", "_")
    if not (place / "metrics.json").is_file():
        return None
    metrics = read_metrics(place)
    layers = place / "intermediate"
    stages = [read_metrics(layers)] if layers.is_dir() else []
    minutes = sum(stage["training"]["seconds"] for stage in [*stages, metrics]) / 60
    return {
        "dev": metrics["dev"],
        "held_out": metrics["training"]["score"],
        "parameters": metrics["parameters"],
        "learning_rows": metrics["learning_rows"],
        "rows_visited": sum(stage["training"]["rows"] for stage in [*stages, metrics]),
        "training_minutes": round(minutes, 1),
        "dev_with_teacher": metrics["dev_with_teacher"],
    }


def figures(arguments: argparse.Namespace, folder: Path, teacher: Path, names: list[str]) -> dict[str, Any]:
    """What the runs that are there have come to."""
    from core.metrics import gap_closed

    found: dict[str, Any] = {
        "settings": {"rows": ROWS[arguments.task], "shared": SHARED, "distilled": DISTILLED, "alone": ALONE},
        "students_at_a_time": arguments.jobs,
        "teacher": recipe.one(teacher, arguments.data_dir),
        "students": {},
        "ablation": {
            name.removeprefix("ablation-"): known
            for name in names
            if name.startswith("ablation-") and (known := record(folder, name)) is not None
        },
    }
    metrics = [name for name in found["teacher"]["dev"] if name != "accuracy_on_unseen_texts"]
    if copied := figures_of_copies(arguments, folder, metrics):
        found["copies"] = copied
    for shape in arguments.shapes:
        ways = {}
        for way in ("alone-random", "alone-teacher", "distilled"):
            known = {seed: record(folder, f"{shape}-{way}-{seed}") for seed in arguments.seeds}
            known = {seed: value for seed, value in known.items() if value is not None}
            if known:
                ways[way] = over_seeds(known, metrics)
        alone = [ways[way] for way in ("alone-random", "alone-teacher") if way in ways]
        if "distilled" in ways and alone:
            ways["gap_closed"] = {}
            for metric in metrics:
                # The gap counts from the better of the two.
                better = max(each["dev"][metric] for each in alone)
                sides = found["teacher"]["dev"][metric], better, ways["distilled"]["dev"][metric]
                if sides[0] > sides[1]:
                    ways["gap_closed"][metric] = gap_closed(*sides)
        if ways:
            found["students"][shape] = ways
    return found


def figures_of_copies(arguments: argparse.Namespace, folder: Path, metrics: list[str]) -> dict[str, Any]:
    """What students over copies of each kind have come to, as far as they are wanted and there."""
    from core.checkpoint import read_metrics

    ways = {}
    for way in COPIED if "copies" in arguments.parts else ():
        known = {seed: record(folder, f"copies-{way}-{seed}") for seed in arguments.seeds}
        if there := {seed: value for seed, value in known.items() if value is not None}:
            ways[way] = over_seeds(there, metrics)
    if not ways:
        return {}
    encoder = encoder_folder(folder.parent / "encoders", "en") / "metrics.json"
    asked = {"masked_lm": read_metrics(encoder.parent)["dev"]} if encoder.is_file() else {}
    return {"settings": {**ABLATED, **SHORTER, **COPIES}, **asked, "students": ways}


def over_seeds(known: Mapping[int, Mapping[str, Any]], metrics: list[str]) -> dict[str, Any]:
    """Means over seeds, and each."""
    import statistics

    first = next(iter(known.values()))
    per_seed = {metric: [one["dev"][metric] for one in known.values()] for metric in metrics}
    return {
        "seeds": list(known),
        "dev": {metric: statistics.mean(values) for metric, values in per_seed.items()},
        "standard_deviation": {
            metric: statistics.stdev(values) if len(values) > 1 else None for metric, values in per_seed.items()
        },
        "per_seed": per_seed,
        "held_out": [one["held_out"] for one in known.values()],
        "dev_with_teacher": {
            name: statistics.mean(one["dev_with_teacher"][name] for one in known.values())
            for name in first["dev_with_teacher"]
        },
        "parameters": first["parameters"],
        "learning_rows": first["learning_rows"],
        "rows_visited": first["rows_visited"],
        "training_minutes": [one["training_minutes"] for one in known.values()],
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
