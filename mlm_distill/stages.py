"""Stages of a masked-LM distillation: each model is made out of the one before, and learns from it.

A configuration is a JSON object whose entries are the options of the single scripts:

    {
      "teacher": "models/roberta-wwm-ext",
      "corpus": {"input_dir": ["texts"], "max_seq_length": 512, "dynamic_masking": true},
      "assistant": {"init": {"layers": "0,2,4,7,9,11"}, "distill": {"num_train_steps": 100000}},
      "student": {"init": {"preset": "minirbt-h256"}, "distill": {"num_train_steps": 100000}}
    }

Without ``assistant`` the student learns from the teacher: distillation in one stage. A stage with ``answers`` (options
of ``create_teacher_output_data``) learns from answers that are stored first; the others ask at every step.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from args import Options, names_of
from console import InputError, say
from core.checkpoint import inputs_inside
from core.shapes import SHAPES
from files import FolderLock, check_new_folder, read_json, write_json
from mlm_distill.corpus import create as create_corpus
from mlm_distill.corpus import is_of_other_text
from mlm_distill.options import (
    CorpusOptions,
    InitStudentOptions,
    RunDistillOptions,
    TeacherOutputOptions,
    TwoStageOptions,
    layers_from,
)
from mlm_distill.student import init_student
from mlm_distill.teacher_outputs import create as create_answers
from mlm_distill.train import distill
from models.folder import bert_shape
from models.pretrained import resolve_pretrained

RECORD = "two_stage.json"
STAGES = ("assistant", "student")
# What every stage is told by its place.
OWN = (
    *(
        "output_dir",
        "overwrite",
        "resume",
        "input_file",
        "student_model",
        "teacher",
        "teacher_dir",
        "cache_dir",
        "device",
    ),
    *("do_train", "do_eval", "dry_run"),
)
# Of a stage's folders: its first weights, its teacher's answers, the student.
ENDS = ("_start", "_answers", "")
O = TypeVar("O", bound=Options)  # noqa: E741 - the field's own letter for "options"


@dataclass(frozen=True)
class Stage:
    """One student and how it learns.

    Attributes:
        name: ``assistant`` or ``student``.
        init: how it is made out of its teacher.
        answers: how the teacher's answers are stored; None where it is asked at every step.
        distill: its training.
    """

    name: str
    init: InitStudentOptions
    answers: TeacherOutputOptions | None
    distill: RunDistillOptions


def run_stages(options: TwoStageOptions) -> dict[str, Any]:
    """Takes every step that is not done yet; a step that was interrupted goes on from its checkpoint.

    Returns:
        ``metrics.json`` of every stage, by its name.

    Raises:
        InputError: the configuration is wrong, or the folder holds the steps of another one.
    """
    config = _read(options.config)
    root = Path(options.output_dir)
    corpus, stages = planned(config, root, options)
    # Before hours of work: is there such a teacher?
    first = resolve_pretrained(str(config["teacher"]), Path(stages[0].init.cache()))
    _check_stages(options, corpus, stages, bert_shape(first).num_hidden_layers)
    check_new_folder(root, "--output_dir")
    lock = FolderLock(root, f"--output_dir {root}")
    lock.check()
    if (root / RECORD).exists() and (root / RECORD).samefile(options.config):
        raise InputError(f"--config {options.config}: is this folder's own record; keep the configuration elsewhere")
    known = _known(root)
    if known is None and root.is_dir() and any(not path.name.startswith(".") for path in root.iterdir()):
        raise InputError(f"--output_dir {root} is not empty; choose another")
    starts_anew = known is not None and options.overwrite
    if known is not None and not starts_anew and (begun := _begun_otherwise(root, known, config, corpus)):
        raise InputError(f"--output_dir {root}: begun with {begun}; pass --overwrite to start anew, or choose another")
    if starts_anew and (inside := inputs_inside(root, {"config": options.config, **_read_by(config, str(first))})):
        raise InputError(f"--output_dir {root}: holds {inside}, which is read; choose another folder")
    root.mkdir(parents=True, exist_ok=True)
    lock.acquire()
    try:
        if starts_anew:
            # Of no configuration from here on: killed in between, the folder is not taken for one that may go on.
            write_json(root / RECORD, {})
            for name in ("corpus", *(f"{stage}{end}" for stage in STAGES for end in ENDS)):
                shutil.rmtree(root / name, ignore_errors=True)
        write_json(root / RECORD, config)
        say("== corpus")
        create_corpus(corpus)
        return {stage.name: _run(stage) for stage in stages}
    finally:
        lock.release()


def _begun_otherwise(
    root: Path, known: Mapping[str, Any], config: Mapping[str, Any], corpus: CorpusOptions
) -> str | None:
    """What steps that have begun were begun with, if it is not what they are to be taken with now.

    The configuration of steps that have not begun may change: what was made before them stays.
    """
    places = ["corpus", *(f"{stage}{end}" for stage in STAGES for end in ENDS)]
    changed = [
        place
        for place in places
        if _asked_of(known, place) != _asked_of(config, place) or (known.get("teacher") != config.get("teacher"))
    ]
    if changed:
        later = [root / place for place in places[places.index(changed[0]) :]]
        if any(path.is_dir() and any(not one.name.startswith(".") for one in path.iterdir()) for path in later):
            return "another configuration"
    return "other text" if is_of_other_text(corpus) else None


def _asked_of(config: Mapping[str, Any], place: str) -> Any:
    """The part of a configuration that a step's folder depends on, beside those before it."""
    if place == "corpus":
        return config.get("corpus")
    stage, _, end = place.partition("_")
    part = dict(zip(ENDS, PARTS, strict=True))[f"_{end}" if end else ""]
    found = config.get(stage)
    return (stage in config, found.get(part) if isinstance(found, Mapping) else found)


def _read_by(config: Mapping[str, Any], teacher: str) -> dict[str, Any]:
    """What a configuration names, by the places where it does, files and folders among it."""
    parts = {name: config[name] for name in STAGES if name in config}
    named = {
        "corpus": config["corpus"],
        **{f"{name}.{part}": parts[name][part] for name in parts for part in parts[name]},
    }
    found = {f"{place}.{option}": value for place, options in named.items() for option, value in options.items()}
    return {"teacher": teacher, **found}


def _check_stages(options: TwoStageOptions, corpus: CorpusOptions, stages: list[Stage], depth: int) -> None:
    """Tells before any work what a later stage would stumble over.

    Args:
        options: of the run.
        corpus: that all stages read.
        stages: in their order.
        depth: layers of the teacher.

    Raises:
        InputError: layers that a stage's teacher does not have, or answers over a corpus without masks.
    """
    faults = []
    for stage in stages:
        init, kept = stage.init, layers_from(stage.init.layers)
        if kept is not None and kept[-1] >= depth:
            faults.append(f"{stage.name}.init: --layers {init.layers}: its teacher's are 0 to {depth - 1}")
        preset = SHAPES[init.preset]["num_hidden_layers"] if init.preset else depth
        wanted = len(kept) if kept is not None else init.num_hidden_layers or preset
        if init.init == "teacher" and wanted > depth:
            faults.append(f"{stage.name}.init: {wanted} layers, its teacher has {depth}; use init random")
        if stage.answers is not None:
            stored, read = stage.answers.truncation_factor, stage.distill.truncation_factor
            if read > stored:
                faults.append(f"{stage.name}.distill: --truncation_factor {read}: answers holds {stored} of a place")
        if stage.answers is not None and corpus.dynamic_masking:
            faults.append(f"{stage.name}.answers: need stored masks; leave dynamic_masking out of corpus")
        depth = wanted
    if faults:
        raise InputError(f"--config {options.config}: {'; '.join(faults)}")


def _run(stage: Stage) -> dict[str, Any]:
    say(f"\n== {stage.name}")
    if (Path(stage.init.output_dir) / "config.json").is_file():
        say(f"{stage.init.output_dir}: is there")
    else:
        init_student(stage.init)
    if stage.answers is not None:
        create_answers(stage.answers)
    begun = Path(stage.distill.output_dir).exists()
    return distill(stage.distill.replace(resume=begun))


def planned(config: Mapping[str, Any], root: Path, options: TwoStageOptions) -> tuple[CorpusOptions, list[Stage]]:
    """The options of all steps.

    Raises:
        InputError: every fault of the configuration, joined by semicolons.
    """
    faults: list[str] = []

    def made(cls: type[O], where: str, given: Any, **own: Any) -> O | None:
        try:
            if not isinstance(given, Mapping):
                raise InputError("expected an object with options")
            named = names_of(cls, given)
            if taken := [name for name in named if name in OWN]:
                raise InputError(f"--{taken[0]}: follows from the stage's place")
            return cls(**{**named, **own})
        except InputError as error:
            faults.extend(f"{where}: {fault}" for fault in str(error).split("; "))
            return None

    unknown = [name for name in config if name not in ("teacher", "corpus", *STAGES)]
    faults += [f"{name}: expected teacher, corpus, {' and '.join(STAGES)}" for name in unknown]
    teacher = config.get("teacher")
    if not isinstance(teacher, str) or not teacher:
        faults.append("teacher: expected a folder or a name")
    if "student" not in config:
        faults.append("student: is required")
    places = {"cache_dir": options.cache_dir}
    given_corpus = config.get("corpus") if isinstance(config.get("corpus"), Mapping) else {}
    text = made(
        CorpusOptions,
        "corpus",
        config.get("corpus"),
        output_dir=str(root / "corpus"),
        cache_dir=options.cache_dir,
        **({} if "vocab_file" in given_corpus else {"model_name": str(teacher)}),
    )
    stages: list[Stage] = []
    source = str(teacher)
    for name in (name for name in STAGES if name in config):
        parts = config[name] if isinstance(config[name], Mapping) else {}
        faults += [f"{name}.{part}: expected init, answers or distill" for part in parts if part not in PARTS]
        start, answers, target = (str(root / f"{name}{end}") for end in ENDS)
        first = parts.get("init")
        # A head of its own begins with what the corpus says.
        its_own = isinstance(first, Mapping) and (
            "random" in (first.get("head"), first.get("init")) or "vocab_file" in first
        )
        counted = {"input_file": str(root / "corpus")} if its_own else {}
        own = {"teacher_dir": source, "output_dir": start, **counted, **places}
        init = made(InitStudentOptions, f"{name}.init", first, **own)
        stored = None
        read: dict[str, Any] = {"input_file": str(root / "corpus"), "teacher": source}
        if "answers" in parts:
            stored = made(
                TeacherOutputOptions, f"{name}.answers", parts["answers"], teacher_dir=source, output_dir=answers,
                input_file=str(root / "corpus"), device=options.device, **places,
            )  # fmt: skip
            read = {"input_file": answers}
        given = parts.get("distill")
        if stored is not None and isinstance(given, Mapping) and "truncation_factor" not in given:
            # As many as are stored.
            read["truncation_factor"] = stored.truncation_factor
        learnt = made(
            RunDistillOptions, f"{name}.distill", given, student_model=start, output_dir=target,
            device=options.device, **read, **places,
        )  # fmt: skip
        if init is not None and learnt is not None:
            stages.append(Stage(name, init, stored, learnt))
        source = target
    if faults:
        raise InputError(f"--config {options.config}: {'; '.join(faults)}")
    assert text is not None
    return text, stages


PARTS = ("init", "answers", "distill")


def _read(name: str) -> dict[str, Any]:
    try:
        return read_json(name)
    except FileNotFoundError:
        raise InputError(f"--config {name}: no such file") from None
    except ValueError as error:
        raise InputError(f"--config {name}: {error}") from error


def _known(root: Path) -> dict[str, Any] | None:
    """The configuration that a folder was begun with."""
    try:
        return read_json(root / RECORD)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{root / RECORD}: damaged ({error}); choose another --output_dir") from error
