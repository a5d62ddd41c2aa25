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
from core.checkpoint import METRICS
from core.export import EXPORT_CONFIG, read_export_config, write_export
from core.forms import served_bytes
from core.metrics import MAIN_METRIC
from core.recorded import ARGUMENTS, recorded_dev
from core.texts import parity_rows
from core.train import LOG
from data.sources import Rows, read_rows
from data.tasks import TASKS, Task
from deploy.evaluation import Judged, by_label, opened
from deploy.options import EvaluateOptions, ReportOptions
from deploy.predictor import Predictor
from deploy.timing import alternate
from files import file_checksum, read_json
from models.folder import OURS, load, read_config
from models.weights import WEIGHTS

# What ofa_bert.search writes.
SEARCH = "search.json"
# Folders that hold no models of their own, and how far down models are looked for.
NOT_LOOKED_INTO, DEEPEST = ("checkpoint", "kept", "visualdl", "data", "cache", "predictions"), 4
# The script that makes teachers, and where those of students say who taught them.
TEACHES = "finetune.run_classifier"
TAUGHT = {
    "distill_lstm.bert_distill": "teacher_dir",
    "tinybert.task_distill": "teacher_model",
    "ofa_bert.run_glue_ofa": "model_name_or_path",
}
# What tells apart the rows of runs on a user's own files.
FILES = ("data_dir", "train_file", "dev_file", "dev_share")
# What entries of records are.
KINDS: dict[str, type] = {"dev": dict, "training": dict, "stages": list, "sub_networks": list, "dev_with_teacher": dict}
ARGUED: dict[str, type] = {"script": str, "options": dict, "state": dict, "given": list}
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
        return self.arguments.get("options") or {}

    @property
    def script(self) -> str:
        """That made it."""
        return str(self.arguments.get("script", ""))

    @property
    def metric(self) -> str | None:
        """The figure that stands for its quality; None where nothing was evaluated."""
        dev = self.metrics.get("dev") or {}
        # A masked language model has no task: what it says at hidden places is judged.
        name = MAIN_METRIC.get(self.task.metric) if self.task else "accuracy"
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
        below = _below(Path(place).resolve())
        if not below:
            raise InputError(f"--run {place}: no finished run, model folder or export folder here or below")
        # A link, or a folder that was named twice, is the same one.
        folders += [folder for folder in dict.fromkeys(path.resolve() for path in below) if folder not in folders]
    root = Path(os.path.commonpath([folder.parent for folder in folders]))
    models, exports = [], {}
    ends = Counter(folder.name for folder in folders)
    for folder in folders:
        # The folder's own name where that is enough.
        name = folder.name if ends[folder.name] == 1 else os.path.relpath(folder, root)
        if (folder / EXPORT_CONFIG).is_file():
            exports[folder] = Found(name, None, folder)
        else:
            models.append(_model(folder, name))
    weights: dict[str | None, Found] = {}
    for folder, found in exports.items():
        config = read_export_config(folder, "--run")
        found.size = served_bytes(folder, config)
        found.parameters = int(config.get("parameters", 0))
        made_from = config.get("weights")
        if made_from and not weights:
            weights = {_weights(one): one for one in models}
        owner = weights.get(made_from) if made_from else None
        if owner is None:
            found.task = Predictor(folder, 1).task
            models.append(found)
        elif owner.static is None:
            owner.static, owner.size = folder, found.size
    return _by_seed(models)


def _below(folder: Path, depth: int = 0) -> list[Path]:
    """Model folders and export folders; a run is one, whatever its stages have left in it."""
    if (folder / EXPORT_CONFIG).is_file() or _is_model(folder):
        return [folder]
    if (folder / ARGUMENTS).is_file():
        if (folder / METRICS).is_file():
            return [folder]
        say(f"note: {folder}: this run has not ended; left out")
        return []
    if depth == DEEPEST:
        return []
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [found for path in inner if path.name not in NOT_LOOKED_INTO for found in _below(path, depth + 1)]


def _is_model(folder: Path) -> bool:
    """Whether a folder without a record is a model of ours: an exported sub-network, say."""
    if not (folder / WEIGHTS).is_file() or not (folder / "config.json").is_file():
        return False
    if (folder / ARGUMENTS).is_file():
        # A run that has not ended has weights too, perhaps of its beginning.
        return False
    # An encoder without a record is the beginning of a training, and has learnt nothing.
    return "task" in (read_config(folder).get(OURS) or {})


def _model(folder: Path, name: str) -> Found:
    metrics, arguments = (_record(folder / file, known) for file, known in ((METRICS, KINDS), (ARGUMENTS, ARGUED)))
    loaded = load(folder)
    return Found(name, folder, None, metrics, arguments, loaded.task, loaded.parameters)


def _record(path: Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """A JSON file of a run, whose entries are what they should be; empty where there is none.

    Raises:
        InputError: it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        found = read_json(path)
        if wrong := [name for name, kind in kinds.items() if not isinstance(found.get(name) or kind(), kind)]:
            raise ValueError(f"{wrong[0]}: {found[wrong[0]]!r}"[:80])
        dev = found.get("dev") or {}
        if not all(value is None or isinstance(value, (int, float)) for value in dev.values()):
            raise ValueError("dev holds other than numbers")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({error})") from error
    return found


def _weights(found: Found) -> str | None:
    return file_checksum(found.folder / WEIGHTS) if found.folder else None


def _by_seed(models: Sequence[Found]) -> list[Found]:
    """One model for all seeds of a setting, which knows the others."""
    kept: dict[str, Found] = {}
    for number, found in enumerate(models):
        state = {k: v for k, v in (found.arguments.get("state") or {}).items() if k != "seed"}
        key = json.dumps([found.script, state], sort_keys=True) if state else str(number)
        if key in kept and found.options.get("seed") in {one.options.get("seed") for one in kept[key].others}:
            # A copy of a run is no further seed.
            key = str(number)
        first = kept.setdefault(key, found)
        first.others.append(found)
    # Teachers first: the others are compared with them. Of encoders the larger ones teach.
    return sorted(kept.values(), key=lambda one: (one.script != TEACHES, -one.parameters if one.task is None else 0))


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
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], 1):
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
    # Records of earlier versions do not say what was given: then all that has a value.
    names = given if isinstance(given, list) else list(found.options)
    left_out = ("resume", "overwrite", "sweep", "seeds")
    values = {name: found.options.get(name) for name in names if name not in left_out}
    values = {name: value for name, value in values.items() if value is not None and value != []}
    return shlex.join(["python", "-m", found.script, *words_of(values)])


@dataclass(frozen=True)
class Group:
    """Models of one task.

    Attributes:
        task: theirs.
        models: that are shown, one for all seeds of a setting.
        rows: that they are judged on; None where these cannot be had any longer, or there is nothing to label.
        name: of the task, with a number where there are several of that name.
    """

    task: Task
    models: list[Found]
    rows: Rows | None
    name: str

    @property
    def base(self) -> Found:
        """What the others are compared with: a teacher where there is one."""
        return self.models[0]


def groups_of(models: Sequence[Found], options: ReportOptions) -> list[Group]:
    """Models by task, and the rows of each; a user's own tasks are told apart by their files.

    Raises:
        InputError: rows that are no longer what they were, or that do not fit.
    """
    by_task: dict[tuple[Any, ...], list[Found]] = {}
    for one in models:
        if one.task is not None:
            own = () if one.task.name in TASKS else tuple(str(one.options.get(name)) for name in FILES)
            key = (one.task.name, one.task.text_columns, tuple(one.task.labels or ()), own)
            by_task.setdefault(key, []).append(one)
    found: list[Group] = []
    for theirs in by_task.values():
        task = theirs[0].task
        assert task is not None
        same = sum(group.task.name == task.name for group in found)
        labelled = task.kind != "span" and not task.is_regression
        rows = _rows(theirs, task, options) if labelled else None
        if rows is not None:
            rows = rows.take(np.arange(min(options.rows, len(rows))))
        found.append(Group(task, theirs, rows, f"{task.name} {same + 1}" if same else task.name))
    return found


def judge(groups: Sequence[Group], options: ReportOptions) -> None:
    """Lets classifiers, and the teachers of students, label the rows of their task; their logits stay with them."""
    for group in groups:
        if group.rows is None:
            continue
        asked = [*group.models, *filter(None, (teacher_of(one, group.models) for one in group.models))]
        asked = list({id(one): one for one in asked}.values())
        for one in progress(asked, f"{group.name}: what the models say", unit="model"):
            one.logits = judged(one, options).logits(group.rows.texts)


def judged(found: Found, options: ReportOptions) -> Judged:
    """A model that can be asked."""
    folder = str(found.folder or found.static)
    return opened(folder, "--run", EvaluateOptions(model_dir=folder, batch_size=options.batch_size))


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
    named = student.options.get(TAUGHT.get(student.script, ""))
    first = named[0] if isinstance(named, list) and named else named
    if not isinstance(first, str) or not Path(first).is_dir():
        return None
    every = [other for one in models for other in one.others or [one]]
    return next((one for one in every if one.folder and one.folder.resolve() == Path(first).resolve()), None)


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


def measure_speed(groups: Sequence[Group], options: ReportOptions) -> None:
    """Size and speed of static graphs, the models of a task taking turns; made for a moment where there are none."""
    for group in groups if options.rounds else ():
        with tempfile.TemporaryDirectory() as place:
            graphs = []
            for number, one in enumerate(progress(group.models, f"{group.name}: static graphs", unit="model")):
                graphs.append(one.static or _exported(one, Path(place) / str(number)))
                one.size = served_bytes(graphs[-1], read_export_config(graphs[-1]))
            texts = parity_rows(group.task, None, options.speed_rows, options.input_file, group.base.folder).columns
            predictors = [Predictor(graph, 1) for graph in graphs]
            records = alternate(predictors, [texts] * len(predictors), options.rounds, options.speed_rows, 32)
            for one, record in zip(group.models, records, strict=True):
                one.speed = record


def _exported(found: Found, folder: Path) -> Path:
    assert found.folder is not None and found.task is not None
    folder.mkdir()
    write_export(load(found.folder), folder, parity_rows(found.task, None, 8).columns)
    return folder


def sub_networks(found: Found) -> list[Mapping[str, Any]]:
    """Of a once-for-all network: shape, size and metrics of every part."""
    return [
        one
        for one in found.metrics.get("sub_networks") or []
        if isinstance(one, dict)
        and isinstance(one.get("dev"), dict)
        and all(isinstance(one.get(name), (int, float)) for name in ("width", "depth", "parameters"))
        and isinstance(one["dev"].get(found.metric), (int, float))
    ]


def searches(places: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """Sub-networks that searches below folders have measured, by the search's folder.

    Raises:
        InputError: a record is damaged.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for place in places:
        for path in sorted(Path(place).resolve().rglob(SEARCH)):
            if len(path.relative_to(Path(place).resolve()).parts) > DEEPEST:
                continue
            try:
                record = read_json(path)
                known = [one for one in record["candidates"] if one["score"] is not None]
                # All that is shown of them.
                assert all(
                    isinstance(value, (int, float))
                    for one in known
                    for value in (one["shape"]["width"], one["shape"]["depth"], one["latency_ms"], one["score"])
                )
            except (ValueError, KeyError, TypeError, AssertionError) as error:
                raise InputError(
                    f"{path}: no record of a search of ours, or damaged ({type(error).__name__})"
                ) from error
            found[os.path.relpath(path.parent, Path(place).resolve())] = known
    return found
