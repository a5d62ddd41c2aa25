"""What all classifier recipes do before and after the loop: read the data, report, write the model folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import paddle

from args import ClassifierOptions, DataOptions, RunOptions
from console import InputError, say, table
from core import distributed
from core.checkpoint import RunFolder, remove_checkpoints
from core.distributed import World
from core.evaluate import dygraph_forward, evaluate_model, predict_logits
from core.losses import hard_label_loss
from core.metrics import MAIN_METRIC
from core.train import Loop, LoopSettings, Losses, Step, TrainingResult
from data.batches import Batch, Batches, Columns
from data.sources import Rows, TaskData, data_of, describe, find_split, has_split, read_rows
from data.store import write_atomically
from data.tasks import TASKS, Task
from models.folder import Classifier, LoadedModel, load, save


def training_world(script: str, options: RunOptions) -> tuple[World, RunFolder]:
    """Checks output folder, device and precision, and joins the other processes."""
    folder = RunFolder.check(script, options)
    world = distributed.start(options.device)
    distributed.check_precision(options.precision)  # type: ignore[attr-defined]
    return world, folder


def load_data(options: DataOptions, world: World) -> TaskData:
    """The rows of the task that the options name, read and checked."""
    data = data_of(options)
    if isinstance(options, ClassifierOptions) and options.do_predict:
        data = replace(data, test=test_rows(options, data.task))
    if world.is_main:
        say(describe(data))
    return data


def test_rows(options: ClassifierOptions, task: Task) -> dict[str, Rows]:
    """The rows that are to be labelled; a bad one stops the run, since predictions go by the number of the row."""
    files = {"test": options.test_file or find_split(options.data_dir or "", "test")}
    for name in task.further_dev:
        further = name.replace("dev", "test")
        if not options.test_file and has_split(options.data_dir or "", further):
            files[further] = find_split(options.data_dir or "", further)
    hint = "mend it: predictions go by the number of the row, so that none can be left out"
    found = {name: read_rows(path, task, labelled=False, hint=hint)[0] for name, path in files.items()}
    for name, rows in found.items():
        if len(rows) == 0:
            raise InputError(f"{files[name]}: no rows to label")
    return found


def load_teacher(folder: str, task: Task, option: str) -> LoadedModel:
    """A fine-tuned BERT for the task.

    Args:
        folder: its model folder.
        task: whose rows it is to judge.
        option: names the folder in errors.

    Raises:
        InputError: no BERT, or one for other labels or another shape of rows.
    """
    teacher = load(folder)
    if teacher.model.model_type != "bert":
        raise InputError(f"{option} {folder}: expected a BERT, this is a {teacher.model.model_type}")
    if teacher.task.labels != task.labels:
        raise InputError(f"{option} {folder}: its labels are {teacher.task.labels}, the task's {task.labels}")
    if teacher.task.is_pair != task.is_pair:
        raise InputError(f"{option} {folder}: one of teacher and task reads pairs, the other single texts")
    return teacher


def label_step(model: Classifier) -> Callable[[Batch], Losses]:
    """A training step on labels alone."""

    def step(batch: Batch) -> Losses:
        return {"loss": hard_label_loss(model.from_batch(batch), paddle.to_tensor(batch["labels"]))}

    return step


def train_classifier(
    loaded: LoadedModel,
    columns: Columns,
    step: Step,
    data: TaskData,
    options: ClassifierOptions,
    settings: LoopSettings,
    world: World,
    extra: dict[str, Any] | None = None,
    evaluate: Callable[[Columns], dict[str, float]] | None = None,
) -> dict[str, Any]:
    """Runs the loop over encoded rows and evaluates on dev.

    Args:
        loaded: trained in place.
        columns: encoded rows with what ``step`` needs beside them.
        step: batch to losses.
        data: gives the rows that choose checkpoints, and dev.
        options: of the recipe.
        settings: of the loop.
        world: the processes of the run.
        extra: further entries of the record.
        evaluate: figures that choose checkpoints, from the encoded rows that choose them; the task's metrics of the
            model when left out.

    Returns:
        The record of the run, for :func:`finish`.
    """
    settings = replace(settings, selection_metric=MAIN_METRIC[loaded.task.metric])
    encoder = loaded.encoder
    select = encoder.encode(data.select.texts)
    batches = Batches(
        columns,
        options.batch_size,
        encoder.pad_id,
        seed=options.seed,
        rank=world.rank,
        world=world.size,
        workers=options.num_workers,
    )

    def judge() -> dict[str, float]:
        return evaluate_model(loaded, data.select, encoded=select) if evaluate is None else evaluate(select)

    result = Loop(loaded.model, step, batches, judge, settings, options, options, world).run()
    return {**evaluate_fully(loaded, data, result, world), **(extra or {})}


def finished(folder: RunFolder, options: ClassifierOptions) -> dict[str, Any]:
    """What a run left that had ended before: its metrics, and on demand labels for a test file."""
    if options.do_predict:
        loaded = load(folder.path)
        no_rows = Rows(tuple([] for _ in loaded.task.text_columns), None)
        write_predictions(
            folder.path, loaded, TaskData(loaded.task, no_rows, no_rows, no_rows, test=test_rows(options, loaded.task))
        )
    return finish(folder, None)


def write_predictions(folder: Path, loaded: LoadedModel, data: TaskData) -> None:
    """Labels the test rows and writes them as the benchmarks want them, below ``predictions``.

    GLUE: ``index`` and ``prediction`` as TSV under the benchmark's own file name. CLUE: an object with ``id`` and
    ``label`` a line, TNEWS' labels as their codes. Anything else as GLUE's, under the task's name. Indices count the
    file's rows from 0.
    """
    for split, rows in data.test.items():
        logits = predict_logits(dygraph_forward(loaded.model), loaded.encoder.encode(rows.texts), loaded.encoder.pad_id)
        names = loaded.task.labels or ()
        answers = [names[i] for i in logits.argmax(-1)] if names else [f"{value:.3f}" for value in logits[:, 0]]
        known = TASKS.get(loaded.task.name)
        if known is not None and known.hub is not None and known.hub[0] == "clue":
            name = CLUE_FILES.get(loaded.task.name, f"{loaded.task.name}_predict.json")
            codes = TNEWS_CODES if loaded.task.name == "tnews" else {}
            lines = [
                json.dumps({"id": i, "label": codes.get(label, label)}, ensure_ascii=False)
                for i, label in enumerate(answers)
            ]
        else:
            name = GLUE_FILES.get((loaded.task.name, split), f"{loaded.task.name}.tsv")
            lines = ["index\tprediction", *(f"{i}\t{label}" for i, label in enumerate(answers))]
        write_atomically(folder / "predictions" / name, "\n".join([*lines, ""]))
        say(f"{len(rows):,} predictions in {folder / 'predictions' / name}")


# The names under which GLUE's server takes predictions.
GLUE_FILES = {
    ("cola", "test"): "CoLA.tsv",
    ("sst-2", "test"): "SST-2.tsv",
    ("mrpc", "test"): "MRPC.tsv",
    ("sts-b", "test"): "STS-B.tsv",
    ("qqp", "test"): "QQP.tsv",
    ("mnli", "test"): "MNLI-m.tsv",
    ("mnli", "test_mismatched"): "MNLI-mm.tsv",
    ("qnli", "test"): "QNLI.tsv",
    ("rte", "test"): "RTE.tsv",
    ("wnli", "test"): "WNLI.tsv",
}


# The same for CLUE, where they differ from the task's name, and the codes of TNEWS' labels.
CLUE_FILES = {"tnews": "tnews11_predict.json", "ocnli": "ocnli_50k_predict.json"}
TNEWS_CODES = {
    "news_story": "100",
    "news_culture": "101",
    "news_entertainment": "102",
    "news_sports": "103",
    "news_finance": "104",
    "news_house": "106",
    "news_car": "107",
    "news_edu": "108",
    "news_tech": "109",
    "news_military": "110",
    "news_travel": "112",
    "news_world": "113",
    "news_stock": "114",
    "news_agriculture": "115",
    "news_game": "116",
}


def evaluate_fully(loaded: LoadedModel, data: TaskData, result: TrainingResult, world: World) -> dict[str, Any]:
    """The record of a finished training: metrics on dev and how it came to them."""
    return {
        "task": data.task.name,
        "dev": evaluate_model(loaded, data.dev),
        **{name: evaluate_model(loaded, rows) for name, rows in data.further_dev.items()},
        "dev_rows": len(data.dev),
        "train_rows": len(data.train),
        "skipped_rows": data.train.skipped + data.dev.skipped,
        "selection_rows": len(data.select),
        "selected_on": "dev" if data.select is data.dev else "held-out training rows",
        "training": asdict(result),
        "processes": world.size,
    }


def finish(
    folder: RunFolder,
    metrics: dict[str, Any] | None,
    loaded: LoadedModel | None = None,
    world: World | None = None,
    data: TaskData | None = None,
) -> dict[str, Any]:
    """Writes the model folder and its metrics, or reads those of a run that had finished before."""
    if metrics is None:
        metrics = folder.read_metrics()
        say(f"{folder.path}: this run had finished")
    elif loaded is not None and (world is None or world.is_main):
        metrics["parameters"] = loaded.parameters
        save(folder.path, loaded)
        if data is not None:
            write_predictions(folder.path, loaded, data)
        folder.write_metrics(metrics)
        remove_checkpoints(folder.path)
    if world is None or world.is_main:
        judged = [part for part in metrics if part.startswith("dev") and isinstance(metrics[part], dict)]
        rows = [(f"{part} {name}", f"{value:.4f}") for part in judged for name, value in metrics[part].items()]
        training = metrics["training"]
        rows += [("chosen", training["chosen"]), ("parameters", f"{metrics['parameters']:,}")]
        rows += [
            ("rows visited", f"{training['rows']:,}"),
            ("rows/s", f"{training['rows'] / max(training['seconds'], 1e-9):,.0f}"),
        ]
        say(f"\n{table(('', str(folder.path)), rows)}")
    return metrics
