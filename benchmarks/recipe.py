"""The main job on a task as a measurement: teacher, Bi-LSTM alone, and Bi-LSTMs distilled over transfer sets.

Everything is trained by the scripts that users start. Every stage is found again when it has finished, and goes on from
its checkpoint when it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT
from console import InputError, say
from core.arithmetic import BF16, FP32, PRECISIONS, bf16_fault
from core.checkpoint import read_metrics
from files import write_json

SEEDS = (1, 2, 3)
DEFAULTS = ("hidden_size", "num_layers", "dropout_prob", "alpha", "distill_loss", "p_mask", "p_ngram", "embedding_std")


@dataclass(frozen=True)
class Plan:
    """What is trained on a task.

    Attributes:
        task: its name.
        teacher: options of the fine-tuning.
        student: options of all students.
        alone: more of them, for the student on labels alone.
        distilled: more of them, for distilled students.
        transfer_sets: options of the augmentation, by the name of the transfer set; each gives distilled students.
        more_teachers: seeds of further teachers; the mean of all of their answers teaches.
        together: weights of the teacher and of each student on labels alone; their mean then teaches the others.
        relearning: options of further trainings over the first transfer set: the teacher learns from its own answers
            and those of the students on labels alone, and is the teacher from then on.
        rounds: how many of those there are.
        seeds: of the students, two at least.
        precision: in which all is trained, and teachers answer.
        kind: of the students, behind the names of their folders, where another kind stands beside them.
        hidden: values of options that are not to stand in the result, such as folders of this machine.
    """

    task: str
    teacher: Mapping[str, Any]
    student: Mapping[str, Any]
    alone: Mapping[str, Any]
    distilled: Mapping[str, Any]
    transfer_sets: Mapping[str, Mapping[str, Any]]
    more_teachers: Sequence[int] = ()
    together: Sequence[float] = ()
    relearning: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0
    seeds: Sequence[int] = SEEDS
    precision: str = FP32
    kind: str = ""
    hidden: Sequence[str] = field(default=("unlabeled_file", "model_name_or_path", "embedding_path"))


def add_precision(made: argparse.ArgumentParser) -> None:
    """The option of measurements that train in another number format on demand."""
    made.add_argument("--precision", default=FP32, choices=PRECISIONS, help="of trainings and of the teacher's answers")


def check_precision(precision: str, named: str = "--precision bf16") -> None:
    """Says at once that the processor has no bf16.

    Args:
        precision: asked for.
        named: what asks for bf16, in the message.

    Raises:
        InputError: it has none.
    """
    if precision == BF16 and (fault := bf16_fault()):
        raise InputError(f"{named}: {fault}")


def add_seeds(made: argparse.ArgumentParser) -> None:
    """The option of measurements that train students with several seeds."""
    made.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), help="of the students, two at least")


def distinct(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds that were asked for, each once.

    Raises:
        InputError: there are not two of them.
    """
    found = tuple(dict.fromkeys(seeds))
    if len(found) < 2:
        raise InputError("--seeds: expected two at least, whose deviation the result tells")
    return found


def suffix(precision: str) -> str:
    """Of the folder of what is trained in another number format than usual: it has another teacher."""
    return "" if precision == FP32 else f"_{precision}"


def measure(
    plan: Plan, data_dir: str, folder: Path, jobs: int, teacher: Path | None = None, with_distilled: bool = True
) -> dict[str, Any]:
    """All runs of a plan and their summary.

    Args:
        plan: of the task.
        data_dir: folder with the task's train and dev files.
        folder: keeps models and caches.
        jobs: students trained at the same time.
        teacher: a teacher that is there already; the plan's is trained when left out.
        with_distilled: whether there are distilled students too.
    """
    from core.metrics import gap_closed

    cache, shared = folder / "cache", shared_options(plan, data_dir, folder)
    teacher = teacher or trained_teacher(plan, data_dir, folder)
    others = {seed: folder / f"teacher-{seed}" for seed in plan.more_teachers}
    for seed, place in others.items():
        run("finetune.run_classifier", {**shared, **plan.teacher, "seed": seed, "output_dir": str(place)}, jobs=1)
    student = {**shared, **plan.student}
    alone = [
        (
            "distill_lstm.small",
            {**student, **plan.alone, "seed": seed, "teacher_dir": str(teacher), "output_dir": str(place)},
        )
        for seed, place in students_of(plan, "alone", folder).items()
    ]
    figures: dict[str, Any] = {"settings": settings(plan)}
    prefix = ""
    if plan.rounds or plan.together:
        run_all(alone, jobs)
        alone = []
    if plan.rounds:
        figures["earlier_teachers"] = []
    for number in range(1, plan.rounds + 1):
        figures["earlier_teachers"].append(one(teacher, data_dir))
        prefix = "relearnt-" if number == 1 else f"relearnt{number}-"
        teacher = relearnt(plan, shared, teacher, folder / prefix.removesuffix("-"))
    teachers = [teacher, *others.values()]
    taught = {**student, **plan.distilled, **asking(plan)}
    if plan.together:
        teachers += students_of(plan, "alone", folder).values()
        taught["teacher_weights"] = tuple(plan.together)
        prefix += "together-"
    taught["teacher_dir"] = tuple(map(str, teachers))
    runs = []
    transfers = {}
    sets = plan.transfer_sets if with_distilled else {}
    for name, options in sets.items():
        target = folder / f"transfer-{name}"
        transfers[name] = prepare_transfer(plan, options, data_dir, teachers, target, cache)
        for seed, output in students_of(plan, prefix + name, folder).items():
            place = {"seed": seed, "transfer_set": str(target), "output_dir": str(output)}
            runs.append(("distill_lstm.bert_distill", {**taught, **place}))
    run_all([*runs, *alone], jobs)
    if len(teachers) > 1:
        figures["together"] = together(teachers, plan.together, data_dir)
    figures |= {
        "teacher": many([teacher, *others.values()], data_dir) if others else one(teacher, data_dir),
        "alone": many([*students_of(plan, "alone", folder).values()], data_dir),
        **{name: many([*students_of(plan, prefix + name, folder).values()], data_dir) for name in sets},
        "transfer_sets": transfers,
        "students_at_a_time": jobs,
    }
    # What taught, which need not be a single model.
    best = figures.get("together", figures["teacher"])["dev"]
    compared = [metric for metric in best if metric in figures["alone"]["dev"]]
    figures["gap_closed"] = {
        name: {
            metric: gap_closed(best[metric], *(figures[side]["dev"][metric] for side in ("alone", name)))
            for metric in compared
            # Where the teacher is not better there is no gap; the figures above say so.
            if best[metric] > figures["alone"]["dev"][metric]
        }
        for name in sets
    }
    return figures


def shared_options(plan: Plan, data_dir: str, folder: Path) -> dict[str, Any]:
    """Options of every training of a plan."""
    shared = {"task_name": plan.task, "data_dir": data_dir, "cache_dir": str(folder / "cache"), "resume": True}
    return shared if plan.precision == FP32 else {**shared, "precision": plan.precision}


def trained_teacher(plan: Plan, data_dir: str, folder: Path) -> Path:
    """The plan's first teacher, which is found again when it has been trained."""
    place = folder / "teacher"
    options = {**shared_options(plan, data_dir, folder), **plan.teacher, "output_dir": str(place)}
    run("finetune.run_classifier", options, jobs=1)
    return place


def training_minutes(figures: Mapping[str, Any], jobs: int) -> float:
    """What all trainings of a measurement took, as far as students at the same time take turns on the cores."""
    teachers = [*figures.get("earlier_teachers", []), figures["teacher"]]
    students = [figures[name] for name in ("alone", *figures["transfer_sets"])]

    def spent(part: Mapping[str, Any]) -> float:
        minutes = part["training_minutes"]
        return sum(minutes) if isinstance(minutes, list) else minutes

    return sum(map(spent, teachers)) + sum(map(spent, students)) / jobs


def students_of(plan: Plan, name: str, folder: Path) -> dict[int, Path]:
    """The folders of students that differ in their seed."""
    return {seed: folder / f"{name}{plan.kind}-{seed}" for seed in plan.seeds}


def asking(plan: Plan) -> dict[str, Any]:
    """Options of whatever asks a teacher, beside those of its training."""
    return {} if plan.precision == FP32 else {"teacher_precision": plan.precision}


def relearnt(plan: Plan, shared: Mapping[str, Any], teacher: Path, place: Path) -> Path:
    """The teacher after a further training, in a folder of its own; what it learns from is made first."""
    name, options = next(iter(plan.transfer_sets.items()))
    folder = place.parent
    target = folder / f"transfer-{name}"
    prepare_transfer(plan, options, shared["data_dir"], [teacher], target, Path(shared["cache_dir"]))
    learning = {
        **shared,
        **plan.relearning,
        **asking(plan),
        "stage": "prediction",
        "student_model": str(teacher),
        "teacher_model": str(teacher),
        "more_teachers": tuple(map(str, students_of(plan, "alone", folder).values())),
        "transfer_set": str(target),
        "output_dir": str(place),
    }
    run("tinybert.task_distill", learning, jobs=1)
    return place


def settings(plan: Plan) -> dict[str, Any]:
    """The options that gave the figures; of files only their names."""
    from distill_lstm.options import DistillOptions

    def shown(options: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _names(value) if name in plan.hidden else value for name, value in options.items()}

    return {
        "teacher": shown(plan.teacher),
        "student": shown(plan.student),
        "alone": shown(plan.alone),
        "distilled": shown(plan.distilled),
        **({"relearning": {**shown(plan.relearning), "rounds": plan.rounds}} if plan.rounds else {}),
        **({"together": list(plan.together)} if plan.together else {}),
        **({"precision": plan.precision} if plan.precision != FP32 else {}),
        "transfer_sets": {name: shown(options) for name, options in plan.transfer_sets.items()},
        "defaults": {name: getattr(DistillOptions, name) for name in DEFAULTS},
    }


def _names(value: Any) -> Any:
    return [os.path.basename(path) for path in value] if isinstance(value, tuple) else os.path.basename(str(value))


def command(module: str, options: Mapping[str, Any]) -> list[str]:
    """A command line as a user types it."""
    words = [sys.executable, "-m", module]
    for name, value in options.items():
        words += [f"--{name}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return words


def run(module: str, options: Mapping[str, Any], jobs: int, where: str = "output_dir") -> None:
    """Starts a script as a user does, with its share of the cores; what it says goes into a log beside its output."""
    output = Path(options[where])
    output.parent.mkdir(parents=True, exist_ok=True)
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    say(f"{output.name}: python -m {module} … ({threads} thread(s); log: {output}.log)")
    with open(f"{output}.log", "a", encoding="utf-8") as log:
        subprocess.run(
            command(module, options),
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )


def record_of(target: Path) -> Path:
    """Where :func:`once` keeps what something was made with."""
    return target.with_name(f"{target.name}.json")


def once(module: str, options: Mapping[str, Any], where: str = "output_dir") -> dict[str, Any]:
    """Starts a script unless what it makes is there, made with the same options; what others made goes.

    Args:
        module: of the script.
        options: its options; data, cache and the output itself may lie elsewhere the next time.
        where: the option that names the output.

    Returns:
        What is on record beside the output, which others may add to.
    """
    target = Path(options[where])
    counting = {name: value for name, value in options.items() if name not in (where, "data_dir", "cache_dir")}
    wanted = json.loads(json.dumps(counting))
    record = record_of(target)
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() and target.exists() else {}
    if known.get("made_with") != wanted:
        shutil.rmtree(target, ignore_errors=True)
        run(module, options, 1, where)
        known = {"made_with": wanted}
        write_json(record, known)
    return known


def run_all(runs: Iterable[tuple[str, Mapping[str, Any]]], jobs: int) -> None:
    """Starts scripts, ``jobs`` at the same time."""
    at_once([partial(run, module, options, jobs=jobs) for module, options in runs], jobs)


def at_once(work: Iterable[Callable[[], None]], jobs: int) -> None:
    """Runs some at the same time, the others as soon as one has ended; after a fault or a stop none begins."""
    with ThreadPoolExecutor(jobs) as pool:
        begun = [pool.submit(one) for one in work]
        try:
            # Whichever fails first, not the first in order.
            done, _ = wait(begun, return_when=FIRST_EXCEPTION)
        finally:
            # Who presses Ctrl-C means all of it.
            pool.shutdown(wait=False, cancel_futures=True)
        for one in done:
            one.result()


def prepare_transfer(
    plan: Plan, options: Mapping[str, Any], data_dir: str, teachers: Sequence[Path], target: Path, cache: Path
) -> dict[str, Any]:
    """Makes a transfer set and the teachers' outputs for it, both before the students compete for the cores.

    Returns:
        Its rows, and the seconds that the teachers took when the outputs were computed.
    """
    from core.teacher import Teacher
    from data.transfer import load_transfer_set
    from models.folder import load

    data = {"task_name": plan.task, "seed": 0}
    data |= {name: plan.student[name] for name in ("holdout", "max_train_rows") if name in plan.student}
    words = {**data, "data_dir": data_dir, **options, "output_file": str(target)}
    known, record = once("distill_lstm.augment_data", words, where="output_file"), record_of(target)
    transfer = load_transfer_set(target)
    # Earlier records hold the seconds of the only teacher.
    spent = known.setdefault("seconds_of", {teachers[0].name: known["seconds"]} if known.get("seconds") else {})
    for folder in teachers:
        with Teacher(load(folder), cache, precision=plan.precision) as teacher:
            outputs = teacher.outputs(transfer)
        if outputs.computed:
            spent[folder.name] = outputs.seconds
            write_json(record, known)
    seconds = sum(spent.get(folder.name, 0) for folder in teachers)
    say(f"{target.name}: {len(transfer):,} rows; teachers took {seconds:.0f} s")
    return {"rows": len(transfer), "teacher_seconds": seconds or None}


def one(folder: Path, data_dir: str) -> dict[str, Any]:
    """The record of a single run."""
    from core.metrics import bootstrap_interval

    metrics = read_metrics(folder)
    correct, unseen = correct_rows(folder, data_dir)
    return {
        "dev": {**metrics["dev"], "accuracy_on_unseen_texts": float(correct[unseen].mean())},
        "dev_rows": len(correct),
        "unseen_dev_rows": int(unseen.sum()),
        "bootstrap_95": bootstrap_interval(correct),
        "held_out": metrics["training"]["score"],
        "parameters": metrics["parameters"],
        "rows_visited": metrics["training"]["rows"],
        "training_minutes": round(metrics["training"]["seconds"] / 60, 1),
    }


def many(folders: Sequence[Path], data_dir: str) -> dict[str, Any]:
    """The record of runs with several seeds: means over them, and each."""
    import numpy as np

    from core.metrics import bootstrap_interval

    single = [one(folder, data_dir) for folder in folders]
    runs = [read_metrics(folder) for folder in folders]
    per_seed = {metric: [found["dev"][metric] for found in single] for metric in single[0]["dev"]}
    # The interval is that of the mean over the seeds, so rows are drawn with all seeds' answers together.
    correct = np.mean([correct_rows(folder, data_dir)[0] for folder in folders], axis=0)
    found = {
        "dev": {metric: statistics.mean(values) for metric, values in per_seed.items()},
        "standard_deviation": {metric: statistics.stdev(values) for metric, values in per_seed.items()},
        "per_seed": per_seed,
        "bootstrap_95": bootstrap_interval(correct),
        "held_out": [found["held_out"] for found in single],
        "chosen": [made["training"]["chosen"] for made in runs],
        "parameters": single[0]["parameters"],
        "rows_visited": single[0]["rows_visited"],
        "training_minutes": [found["training_minutes"] for found in single],
    }
    if "dev_with_teacher" in runs[0]:
        found["dev_with_teacher"] = {
            name: statistics.mean(made["dev_with_teacher"][name] for made in runs)
            for name in runs[0]["dev_with_teacher"]
        }
    return found


def together(folders: Sequence[Path], weights: Sequence[float], data_dir: str) -> dict[str, Any]:
    """The record of the mean of several models' logits, which are equal in it where there are no ``weights``."""
    import numpy as np

    from core.metrics import bootstrap_interval

    said = [dev_logits(folder, data_dir) for folder in folders]
    mean = np.average([logits for logits, _, _ in said], axis=0, weights=weights or None)
    _, rows, loaded = said[0]
    correct, unseen = mean.argmax(-1) == rows.labels, unseen_rows(rows, loaded, data_dir)
    return {
        "dev": {"accuracy": float(correct.mean()), "accuracy_on_unseen_texts": float(correct[unseen].mean())},
        "bootstrap_95": bootstrap_interval(correct),
        "parameters": sum(model.parameters for _, _, model in said),
    }


def dev_logits(folder: Path, data_dir: str):  # noqa: ANN201 - arrays, whose library loads late
    """What a model says of the dev rows, those rows, and the model."""
    from core.evaluate import dygraph_forward, predict_logits
    from data.sources import find_split, read_rows
    from models.folder import load

    loaded = load(folder)
    rows, _ = read_rows(find_split(data_dir, "dev"), loaded.labelled)
    encoder = loaded.encoder
    return predict_logits(dygraph_forward(loaded.model), encoder.encode(rows.texts), encoder.pad_id), rows, loaded


def correct_rows(folder: Path, data_dir: str):  # noqa: ANN201 - arrays, whose library loads late
    """Whether a model is right on each dev row, and whether the row's texts do not stand in train."""
    logits, rows, loaded = dev_logits(folder, data_dir)
    return logits.argmax(-1) == rows.labels, unseen_rows(rows, loaded, data_dir)


def unseen_rows(rows, loaded, data_dir: str):  # noqa: ANN001, ANN201 - as above
    """Of each row whether its texts do not stand in train."""
    import numpy as np

    from data.sources import find_split, read_rows

    train, _ = read_rows(find_split(data_dir, "train"), loaded.labelled)
    known = set(zip(*train.texts, strict=True))
    return np.asarray([row not in known for row in zip(*rows.texts, strict=True)])
