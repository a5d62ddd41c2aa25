"""What a report tells: models below folders, what their runs recorded, how fast they are and what they say of rows."""

from __future__ import annotations

import json
import os
import shlex
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from args import words_of
from console import InputError, progress, say
from core.export import EXPORT_CONFIG, parity_rows, read_export_config, write_export
from core.metrics import MAIN_METRIC
from core.recorded import ARGUMENTS, recorded_dev
from data.sources import Rows, read_rows
from data.tasks import Task
from deploy.evaluation import Judged, by_label, opened
from deploy.options import EvaluateOptions, ReportOptions
from deploy.predictor import Predictor
from deploy.timing import alternate
from files import file_checksum, read_json
from models.folder import OURS, load, read_config
from models.weights import WEIGHTS

METRICS, LOG, SEARCH = "metrics.json", "metrics.jsonl", "search.json"
# Folders that hold no models of their own, and how far down models are looked for.
NOT_LOOKED_INTO, DEEPEST = ("checkpoint", "kept", "visualdl", "data", "cache", "predictions"), 4
# What a log tells beside losses and scores.
NO_LOSSES = ("step", "part", "lr", "rows_per_second")


@dataclass
class Found:
    """A model below the folders that were named.

    Attributes:
        name: its folder, from where all of them stand.
        folder: its model folder; None where there is an export alone.
        static: its export folder, if one is there.
        metrics: what ``metrics.json`` holds.
        arguments: what ``training_args.json`` holds.
        task: what it was trained for; None of encoders and masked language models.
        parameters: number of its weights.
        size: bytes of its export.
        speed: milliseconds of a row and rows a second, where they were measured.
        logits: of the rows that are judged, [rows, labels].
        others: runs of the same options with other seeds, this one among them.
    """

    name: str
    folder: Path | None
    static: Path | None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    task: Task | None = None
    parameters: int = 0
    size: int = 0
    speed: Mapping[str, float] = field(default_factory=dict)
    logits: np.ndarray | None = None
    others: list[Found] = field(default_factory=list)

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of its run."""
        found = self.arguments.get("options")
        return found if isinstance(found, dict) else {}

    @property
    def script(self) -> str:
        """That made it."""
        return str(self.arguments.get("script", ""))

    @property
    def metric(self) -> str | None:
        """The figure that stands for its quality; None where nothing was evaluated."""
        dev = self.metrics.get("dev") or {}
        name = MAIN_METRIC.get(self.task.metric) if self.task else None
        return name if name in dev else next(iter(dev), None)

    @property
    def score(self) -> float | None:
        """Of its run on dev."""
        value = (self.metrics.get("dev") or {}).get(self.metric)
        return None if value is None else float(value)

    @property
    def scores(self) -> list[float]:
        """Of all seeds."""
        return [one.score for one in self.others or [self] if one.score is not None]

    @property
    def mean(self) -> float | None:
        """Over seeds."""
        return statistics.mean(self.scores) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Over seeds; None of a single one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class Curve:
    """The log of a training, or of a stage of one.

    Attributes:
        name: of the stage; empty of a training in one.
        losses: (step, value) by their names.
        evaluations: the same of scores.
    """

    name: str
    losses: Mapping[str, list[tuple[float, float]]]
    evaluations: Mapping[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Disagreement:
    """A row of which two models say different things.

    Attributes:
        texts: of the row.
        label: the true one; None where it is not known.
        student: the student's label and its probability.
        teacher: the teacher's.
    """

    texts: tuple[str, ...]
    label: str | None
    student: tuple[str, float]
    teacher: tuple[str, float]


def find_models(places: Sequence[str]) -> list[Found]:
    """The models in and below some folders, in the order of their names; seeds of one setting stay together.

    Raises:
        InputError: a folder is missing, damaged, or holds no model.
    """
    folders: list[Path] = []
    for place in places:
        if not Path(place).is_dir():
            raise InputError(f"--run {place}: no such folder")
        below = list(_below(Path(place)))
        if not below:
            raise InputError(f"--run {place}: no run, model folder or export folder here or below")
        folders += [folder for folder in below if folder not in folders]
    root = Path(os.path.commonpath([folder.resolve().parent for folder in folders]))
    models, exports = [], {}
    ends = Counter(folder.name for folder in folders)
    for folder in folders:
        # The folder's own name where that is enough.
        name = folder.name if ends[folder.name] == 1 else os.path.relpath(folder.resolve(), root)
        if (folder / EXPORT_CONFIG).is_file():
            exports[folder] = Found(name, None, folder)
        else:
            models.append(_model(folder, name))
    for folder, found in exports.items():
        config = read_export_config(folder, "--run")
        found.size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        found.parameters = int(config.get("parameters", 0))
        made_from = config.get("weights")
        owner = next((one for one in models if made_from and made_from == _weights(one)), None)
        if owner is None:
            found.task = Predictor(folder, 1).task
            models.append(found)
        elif owner.static is None:
            owner.static, owner.size = folder, found.size
    return _by_seed(models)


def _below(folder: Path, depth: int = 0) -> list[Path]:
    """Model folders and export folders; a run is one, whatever its stages have left in it."""
    if (folder / EXPORT_CONFIG).is_file() or (folder / METRICS).is_file() or _is_model(folder):
        return [folder]
    if depth == DEEPEST:
        return []
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [found for path in inner if path.name not in NOT_LOOKED_INTO for found in _below(path, depth + 1)]


def _is_model(folder: Path) -> bool:
    """Whether a folder without a record is a model of ours: an exported sub-network, say."""
    if not (folder / WEIGHTS).is_file() or not (folder / "config.json").is_file():
        return False
    # A run that has not ended has weights too, perhaps of its beginning.
    return OURS in read_config(folder) and not (folder / ARGUMENTS).is_file()


def _model(folder: Path, name: str) -> Found:
    metrics = read_json(folder / METRICS) if (folder / METRICS).is_file() else {}
    arguments = read_json(folder / ARGUMENTS) if (folder / ARGUMENTS).is_file() else {}
    loaded = load(folder)
    return Found(name, folder, None, metrics, arguments, loaded.task, loaded.parameters)


def _weights(found: Found) -> str | None:
    return file_checksum(found.folder / WEIGHTS) if found.folder else None


def _by_seed(models: Sequence[Found]) -> list[Found]:
    """One model for all seeds of a setting, which knows the others."""
    kept: dict[str, Found] = {}
    for number, found in enumerate(models):
        state = {k: v for k, v in (found.arguments.get("state") or {}).items() if k != "seed"}
        key = json.dumps([found.script, state], sort_keys=True) if state else str(number)
        first = kept.setdefault(key, found)
        first.others.append(found)
    return list(kept.values())


def curves(found: Found) -> list[Curve]:
    """What a run wrote while it learnt, a curve a stage.

    Raises:
        InputError: a log is damaged.
    """
    if found.folder is None:
        return []
    stages = [str(name) for name in found.metrics.get("stages") or []]
    places = [("", found.folder), *((stage, found.folder / stage) for stage in stages)]
    return [_curve(name, place / LOG) for name, place in places if (place / LOG).is_file()]


def _curve(name: str, path: Path) -> Curve:
    losses: dict[str, list[tuple[float, float]]] = {}
    evaluations: dict[str, list[tuple[float, float]]] = {}
    # A last line without its end is one that a killed run was writing.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], 1):
        try:
            row = json.loads(line)
            into = losses if row["part"] == "train" else evaluations
            for key, value in row.items():
                if key not in NO_LOSSES and value is not None:
                    into.setdefault(key, []).append((float(row["step"]), float(value)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}, line {number}: damaged ({type(error).__name__})") from error
    return Curve(name, losses, evaluations)


def command(found: Found) -> str | None:
    """The command line that gives the same run again."""
    if not found.script:
        return None
    given = found.arguments.get("given")
    names = given if isinstance(given, list) else [name for name, value in found.options.items() if value]
    values = {name: found.options.get(name) for name in names if name not in ("resume", "overwrite")}
    return shlex.join(["python", "-m", found.script, *words_of(values)])


def judge(models: Sequence[Found], options: ReportOptions) -> dict[str, Rows]:
    """Lets classifiers label the dev rows of their task; their logits are kept with them.

    Args:
        models: those of a task all get the same rows.
        options: name the rows; those of a model's training where they do not.

    Returns:
        The rows by task; none of a task whose rows cannot be had any longer.
    """
    found: dict[str, Rows] = {}
    for task in tasks_of(models):
        if task.kind == "span" or task.is_regression:
            continue
        theirs = [one for one in models if one.task is not None and alike(one.task, task)]
        rows = _rows(theirs, task, options)
        if rows is None:
            continue
        found[task.name] = rows = rows.take(np.arange(min(options.rows, len(rows))))
        for one in progress(theirs, f"{task.name}: what the models say", unit="model"):
            one.logits = judged(one, options).logits(rows.texts)
    return found


def tasks_of(models: Sequence[Found]) -> list[Task]:
    """The different tasks of models."""
    tasks: list[Task] = []
    for one in models:
        if one.task is not None and not any(alike(one.task, task) for task in tasks):
            tasks.append(one.task)
    return tasks


def alike(a: Task, b: Task) -> bool:
    """Whether two tasks have the same rows and labels."""
    return (a.name, a.text_columns, tuple(a.labels or ())) == (b.name, b.text_columns, tuple(b.labels or ()))


def judged(found: Found, options: ReportOptions) -> Judged:
    """A model that can be asked."""
    folder = str(found.folder or found.static)
    return opened(folder, "--run", EvaluateOptions(model_dir=folder, input_file="", batch_size=options.batch_size))


def _rows(models: Sequence[Found], task: Task, options: ReportOptions) -> Rows | None:
    if options.input_file:
        rows, _ = read_rows(options.input_file, task)
        if not len(rows):
            raise InputError(f"--input_file {options.input_file}: no rows")
        return rows
    for one in models:
        known = recorded_dev(one.folder, task) if one.folder else None
        if known is not None and isinstance(known[0], Rows):
            return known[0]
    say(f"note: the dev rows of {task.name} are no longer there; name rows with --input_file")
    return None


def confusion(found: Found, rows: Rows) -> dict[str, Any]:
    """What rows of every label were taken for; see :func:`deploy.evaluation.by_label`."""
    assert found.logits is not None and found.task is not None and rows.labels is not None
    return by_label(list(found.task.labels or ()), found.logits.argmax(-1), rows.labels)


def teacher_of(student: Found, models: Sequence[Found]) -> Found | None:
    """The model among others that a student learnt from."""
    options = student.options
    named = options.get("teacher_dir") or options.get("teacher_model") or options.get("model_name_or_path")
    first = named[0] if isinstance(named, list) and named else named
    if not isinstance(first, str) or not Path(first).is_dir():
        return None
    return next((one for one in models if one.folder and one.folder.resolve() == Path(first).resolve()), None)


def disagreements(student: Found, teacher: Found, rows: Rows, count: int = 10) -> list[Disagreement]:
    """The rows on which student and teacher are furthest apart, of those that they label differently.

    The distance is the total variation of their probabilities.
    """
    assert student.logits is not None and teacher.logits is not None and student.task is not None
    sides = [_probabilities(one.logits) for one in (student, teacher)]  # type: ignore[arg-type]
    apart = np.abs(sides[0] - sides[1]).sum(-1) / 2
    said = [side.argmax(-1) for side in sides]
    order = [n for n in np.argsort(-apart, kind="stable") if said[0][n] != said[1][n]][:count]
    labels = list(student.task.labels or ())
    return [
        Disagreement(
            tuple(column[n] for column in rows.texts),
            labels[int(rows.labels[n])] if rows.labels is not None else None,
            (labels[said[0][n]], float(sides[0][n].max())),
            (labels[said[1][n]], float(sides[1][n].max())),
        )
        for n in order
    ]


def _probabilities(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def measure_speed(models: Sequence[Found], options: ReportOptions) -> None:
    """Size and speed of static graphs, the models of a task taking turns; made for a moment where there are none."""
    with tempfile.TemporaryDirectory() as place:
        for task in tasks_of(models):
            theirs = [one for one in models if one.task is not None and alike(one.task, task)]
            graphs = []
            for number, one in enumerate(progress(theirs, f"{task.name}: static graphs", unit="model")):
                graphs.append(one.static or _exported(one, Path(place) / f"{task.name}-{number}"))
                one.size = sum(path.stat().st_size for path in graphs[-1].iterdir())
            if not options.rounds:
                continue
            first = theirs[0].folder
            texts = parity_rows(task, None, options.speed_rows, options.input_file, first).columns
            predictors = [Predictor(graph, 1) for graph in graphs]
            records = alternate(predictors, [texts] * len(predictors), options.rounds, options.speed_rows, 32)
            for one, record in zip(theirs, records, strict=True):
                one.speed = record


def _exported(found: Found, folder: Path) -> Path:
    assert found.folder is not None and found.task is not None
    folder.mkdir()
    write_export(load(found.folder), folder, parity_rows(found.task, None, 8).columns)
    return folder


def sub_networks(found: Found) -> list[Mapping[str, Any]]:
    """Of a once-for-all network: shape, size and metrics of every part."""
    return [one for one in found.metrics.get("sub_networks") or [] if isinstance(one, dict) and "dev" in one]


def searches(places: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Records of searches for sub-networks below folders, by the folder's name."""
    found = {}
    for place in places:
        for path in sorted(Path(place).rglob(SEARCH)):
            if len(path.relative_to(place).parts) <= DEEPEST:
                found[path.parent.name] = read_json(path)
    return found
