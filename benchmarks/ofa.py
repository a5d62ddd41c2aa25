"""A once-for-all network on a task: accuracy of its sub-networks and their speed, against two plainer ways.

    python -m benchmarks.ofa --task sst-2 --data_dir DIR

The teacher is that of benchmarks.sst2 or benchmarks.tasks. SST-2's training rows are mostly phrases of the same few
thousand sentences: a part of them is learnt from, and sentences of film reviews without labels. Every sub-network is
compared with the same part cut from the teacher (heads and neurons in the order of their importance) without training,
and four of them with that part fine-tuned alone on the labels. Checkpoints are chosen on rows held out of train, dev is
only reported.

With ``--closer`` a few sub-networks learn from a batch and there are more batches, the network at full width teaches
all depths, the distance to the teacher chooses checkpoints, and only the network itself is measured.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import sst2, tasks
from benchmarks.common import parser, work_dir, write_result
from benchmarks.recipe import (
    add_precision,
    check_precision,
    correct_rows,
    dev_logits,
    run,
    shared_options,
    suffix,
    trained_teacher,
)
from console import InputError, run_script
from core.checkpoint import read_metrics

if TYPE_CHECKING:
    import numpy as np

    from data.sources import Rows
    from models.folder import LoadedModel
    from ofa_bert.shapes import Shape

WIDTHS, DEPTHS = (1.0, 5 / 6, 2 / 3, 0.5), (1.0, 2 / 3, 0.5)
ALONE = ((2 / 3, 1.0), (0.5, 1.0), (1.0, 0.5), (0.5, 0.5))
FASTER = ((1.0, 1.0), (2 / 3, 1.0), (0.5, 1.0), (1.0, 0.5), (0.5, 0.5))
# By task: rows held out, how many are learnt from, and passes of the stages.
SETTINGS: dict[str, dict[str, Any]] = {
    "sst-2": {
        "holdout": 0.02,
        "max_train_rows": 20000,
        "num_train_epochs": 3,
        "depth_epochs": 1,
        "batch_size": 64,
        "eval_steps": 500,
    },
    "qqp": {"holdout": 0.05, "num_train_epochs": 3, "depth_epochs": 1, "batch_size": 32, "eval_steps": 0},
}
ALONE_EPOCHS = {"sst-2": 4, "qqp": 3}
REVIEWS = "reviews_imdb.txt"
# With --closer, instead of or beside these; benchmarks.ofa_guides compares ways to teach.
CLOSER: dict[str, Any] = {
    "depth_guide": "full",
    "choose_by": "teacher",
    "sub_networks_per_step": 4,
    "num_train_epochs": 1,
    "depth_epochs": 2,
    "eval_steps": 500,
}
CLOSER_MORE_ROWS: dict[str, dict[str, Any]] = {"sst-2": {}, "qqp": {"repair_pairs": 1}}
OFA = {
    "width_mult_list": WIDTHS,
    "depth_mult_list": DEPTHS,
    "learning_rate": 1e-4,
    "warmup_proportion": 0.06,
    "weight_decay": 0.01,
    # The teacher is deterministic, and the same rows come with the same answer: noise has nothing to prevent here.
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_seq_length": 128,
}
FINE_TUNED = {"learning_rate": 1e-4, "warmup_proportion": 0.06, "weight_decay": 0.01, "max_seq_length": 128}


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet, measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--task", choices=tuple(SETTINGS), default="sst-2")
    made.add_argument("--reviews_dir", default=None, help=f"folder with {REVIEWS}, for sst-2")
    made.add_argument("--jobs", type=int, default=1, help="parts fine-tuned alone at the same time")
    made.add_argument("--rounds", type=int, default=5, help="turns of each model when speed is measured")
    made.add_argument("--closer", action="store_true", help="a few sub-networks a batch, and more batches")
    add_precision(made)
    arguments = made.parse_args(argv)
    check_precision(arguments.precision)
    if arguments.task == "sst-2" and arguments.reviews_dir is None:
        raise InputError(f"--reviews_dir is required for sst-2: a folder with {REVIEWS}")
    began = time.perf_counter()
    folder = work_dir(arguments.work_dir) / f"{arguments.task}{suffix(arguments.precision)}"
    data_dir, settings = arguments.data_dir, SETTINGS[arguments.task]
    if arguments.closer:
        settings = {**settings, **CLOSER, **CLOSER_MORE_ROWS[arguments.task]}
    planned = replace(
        sst2.plan(arguments.reviews_dir) if arguments.task == "sst-2" else tasks.question_pairs(data_dir),
        precision=arguments.precision,
    )
    teacher = trained_teacher(planned, data_dir, folder)
    shared = {**shared_options(planned, data_dir, folder), "seed": arguments.seed, "holdout": settings["holdout"]}
    more = {}
    if arguments.task == "sst-2":
        more = {"unlabeled_file": (os.path.join(arguments.reviews_dir, REVIEWS),), "split_sentences": True}
    alone = {name: settings[name] for name in ("batch_size", "eval_steps", "max_train_rows") if name in settings}
    alone |= {**FINE_TUNED, "num_train_epochs": ALONE_EPOCHS[arguments.task]}
    network = folder / ("network-closer" if arguments.closer else "network")
    earlier = finished_seconds(network, () if arguments.closer else folder.glob("cut-*-tuned"))
    options = {**shared, **OFA, **settings, **more, "model_name_or_path": str(teacher), "output_dir": str(network)}
    run("ofa_bert.run_glue_ofa", options, jobs=1)
    figures = {
        "settings": {**OFA, **settings, **({"unlabeled_file": REVIEWS} if more else {})},
        **({} if arguments.closer else {"alone_settings": alone}),
        "teacher": read_metrics(teacher)["dev"],
        "rows": {name: read_metrics(network)[name] for name in ("learning_rows", "train_rows", "dev_rows")},
        "sub_networks": accuracies(
            options, network, folder, None if arguments.closer else {**shared, **alone}, arguments.jobs
        ),
        "minutes": {
            stage: round(read_metrics(network / stage)["training"]["seconds"] / 60, 1) for stage in ("width", "depth")
        },
    }
    if not arguments.closer:
        figures["speed"] = speed(network, teacher, folder, data_dir, arguments.rounds)
    seconds = earlier + time.perf_counter() - began
    name = f"ofa_{arguments.task.replace('-', '')}" + ("_closer" if arguments.closer else "")
    write_result(name, arguments, figures, seconds, "ofa")


def finished_seconds(network: Path, alone: Iterable[Path]) -> float:
    """The training time of what an interrupted measurement had finished, which the measurement took as well."""
    stages = [path.parent for path in network.glob("*/metrics.json")]
    finished = [*stages, *(place for place in alone if (place / "metrics.json").is_file())]
    return sum(read_metrics(place)["training"]["seconds"] for place in finished)


def accuracies(
    options: Mapping[str, Any],
    network: Path,
    folder: Path,
    alone: Mapping[str, Any] | None,
    jobs: int,
) -> list[dict[str, Any]]:
    """Dev metrics of every sub-network, and how near it is to the teacher there.

    Where options are given for what is fine-tuned alone: of some of them so, and of all as cut from the teacher.
    """
    from core.evaluate import evaluate_model
    from core.metrics import bootstrap_interval
    from data.sources import load_task_data
    from data.tasks import get_task
    from models.folder import load
    from ofa_bert.shapes import make_shapes
    from ofa_bert.sub_model import cut, encoder_parameters
    from ofa_bert.train import starting_network

    rows = {name: options[name] for name in ("holdout", "max_train_rows") if name in options}
    data = load_task_data(get_task(options["task_name"]), options["data_dir"], **rows)
    teacher = options["model_name_or_path"]
    trained = load(network)
    after_width = {part["width"]: part["dev"] for part in read_metrics(network / "width")["sub_networks"]}
    shapes = make_shapes(vars(trained.model.config), WIDTHS, DEPTHS)
    places = {}
    if alone is not None:
        sorted_teacher = starting_network(teacher, OFA["max_seq_length"], "width", data)
        wanted = [each for each in shapes if among(each, ALONE)]
        places = fine_tuned_alone(wanted, sorted_teacher, folder, alone, jobs)
    answers = dev_logits(Path(teacher), options["data_dir"])[0]
    found = []
    for shape, (metrics, near) in zip(shapes, on_dev(trained, shapes, data.dev, answers), strict=True):
        part = cut(trained, shape)
        record = {
            **vars(shape),
            "parameters": part.parameters,
            "encoder_parameters": encoder_parameters(part),
            "trained": metrics,
            "near": near,
        }
        if shape.depth == 1:
            record["after_width_stage"] = after_width[shape.width]
        if alone is not None:
            record["cut"] = evaluate_model(cut(sorted_teacher, shape), data.dev)
        if alone is not None and (place := places.get(shape)):
            record["alone"] = read_metrics(place)["dev"]
            record["alone_bootstrap_95"] = bootstrap_interval(correct_rows(place, alone["data_dir"])[0])
        found.append(record)
    return found


def on_dev(
    network: LoadedModel, shapes: Sequence[Shape], rows: Rows, answers: np.ndarray
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Of every sub-network its metrics on dev, and how near it is there to the teacher's answers."""
    from core.metrics import agreement, compute_metrics
    from ofa_bert.supernet import elastic
    from ofa_bert.train import shape_logits

    said = shape_logits(elastic(network), shapes, network.encoder.encode(rows.texts))
    metric = network.labelled.metric
    return [(compute_metrics(metric, logits, rows.labels), agreement(logits, answers)) for logits in said]


def among(shape: Shape, wanted: Sequence[tuple[float, float]]) -> bool:
    """Whether a sub-network has one of some widths and depths."""
    return any(abs(shape.width - width) + abs(shape.depth - depth) < 1e-6 for width, depth in wanted)


def fine_tuned_alone(
    shapes: Sequence[Shape], sorted_teacher: LoadedModel, folder: Path, options: Mapping[str, Any], jobs: int
) -> dict[Shape, Path]:
    """Models that start from the teacher's layers and learn from labels only, ``jobs`` of them at the same time."""
    from models.folder import save
    from ofa_bert.sub_model import cut

    places, runs = {}, []
    for shape in shapes:
        start = folder / f"cut-{shape.heads}x{len(shape.layers)}"
        save(start, cut(sorted_teacher, shape))
        places[shape] = folder / f"{start.name}-tuned"
        runs.append({**options, "model_name_or_path": str(start), "output_dir": str(places[shape])})
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda values: run("finetune.run_classifier", values, jobs), runs))
    return places


def speed(network: Path, teacher: Path, folder: Path, data_dir: str, rounds: int) -> list[dict[str, Any]]:
    """Latency and throughput of exported sub-networks over the exported teacher, with all threads."""
    from core.texts import parity_rows
    from deploy.exporter import export
    from deploy.options import ExportOptions
    from deploy.timing import measure_alternating
    from models.folder import load
    from ofa_bert.shapes import make_shape
    from ofa_bert.sub_model import PARITY_ROWS, write_sub_model

    exported = [folder / "exported-teacher"]
    export(ExportOptions(model_dir=str(teacher), output_dir=str(exported[0]), data_dir=data_dir, overwrite=True))
    loaded = load(network)
    rows = parity_rows(loaded.labelled, data_dir, PARITY_ROWS).columns
    for width, depth in FASTER:
        shape = make_shape(vars(loaded.model.config), width, depth)
        name = f"{shape.heads}x{len(shape.layers)}"
        # Both are written anew: a measurement that stopped here had made them.
        target, static = folder / f"sub-{name}", folder / f"exported-{name}"
        write_sub_model(loaded, shape, target, static, rows=rows)
        exported.append(static)
    names = [str(path) for path in exported]
    records = measure_alternating(names, len(os.sched_getaffinity(0)), data_dir, rounds=rounds)
    shapes = [("teacher", "")] + [(f"{width:.4g}", f"{depth:.4g}") for width, depth in FASTER]
    return [{**record, "width": w, "depth": d} for record, (w, d) in zip(records, shapes, strict=True)]


if __name__ == "__main__":
    raise SystemExit(run_script(main))
