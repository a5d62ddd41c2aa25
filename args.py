"""The options of all scripts: declared once as dataclass fields, parsed and checked here. Standard library only.

A script composes its options from the groups below by inheritance and adds its own with :func:`option`. Every
fault of a command line is found and reported together, in the command line's own spelling.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from console import InputError
from data.tasks import LANGUAGES, METRICS, Task, custom_task, get_task

Check = Callable[[Any], "str | None"]
O = TypeVar("O", bound="Options")  # noqa: E741 - the field's own letter for "options"


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    choices: Sequence[str] | None = None,
    check: Check | None = None,
    state: bool = True,
    repeat: bool = False,
) -> Any:
    """Declares an option.

    Args:
        default: its value when it is not given; none makes it required.
        help: one sentence.
        choices: the values that are accepted.
        check: takes the value and returns what is wrong with it, or None.
        state: whether the option changes what a run computes; the others may differ when a run is resumed.
        repeat: whether a flag that is given again adds to what it was given before, instead of replacing it.
    """
    metadata = {"help": help, "choices": choices, "check": check, "state": state, "repeat": repeat}
    if default is dataclasses.MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def positive(value: float) -> str | None:
    """A check: the value must be above zero."""
    return None if value > 0 else "must be above 0"


def not_negative(value: float) -> str | None:
    """A check: the value must not be below zero."""
    return None if value >= 0 else "must not be below 0"


def probability(value: float) -> str | None:
    """A check: the value must lie in [0, 1]."""
    return None if 0 <= value <= 1 else "must lie between 0 and 1"


def below_one(value: float) -> str | None:
    """A check: the value must lie in [0, 1)."""
    return None if 0 <= value < 1 else "must be at least 0 and below 1"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base of every script's options."""

    def faults(self) -> list[str]:
        """What is wrong between options; subclasses add theirs to their parent's."""
        return []

    def as_dict(self) -> dict[str, Any]:
        """All options as plain values, for ``training_args.json``."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def default_state(cls) -> dict[str, Any]:
        """The defaults of those options that change what a run computes, as plain values."""
        found = {f.name: f.default for f in dataclasses.fields(cls) if f.metadata.get("state", True)}
        known = {name: value for name, value in found.items() if value is not dataclasses.MISSING}
        return json.loads(json.dumps(known))

    @classmethod
    def defaults_for(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of options that were not given, where they depend on those that were; subclasses say which."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Those options that change what a run computes."""
        names = {f.name for f in dataclasses.fields(self) if f.metadata.get("state", True)}
        return {name: value for name, value in self.as_dict().items() if name in names}


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Where labelled rows come from."""

    task_name: str | None = option(None, "a task of the registry, such as sst-2, qqp or chnsenticorp")
    data_dir: str | None = option(
        None, "folder with train and dev files in the GLUE or CLUE layout; downloaded when left out"
    )
    train_file: str | None = option(None, "your own training rows (.tsv, .csv or .jsonl)")
    dev_file: str | None = option(None, "your own evaluation rows")
    text_columns: tuple[str, ...] = option((), "the column of the text, or the two columns of a pair")
    label_column: str = option("label", "the column of the label in your own files")
    language: str = option("en", "the language of your own files", choices=LANGUAGES)
    metric: str = option("accuracy", "how predictions on your own files are judged", choices=METRICS)
    skip_bad_rows: bool = option(False, "skip and count rows that cannot be read instead of stopping at the first")
    max_seq_length: int = option(
        128, "longest input in tokens, special tokens included; the rest is cut", check=positive
    )
    holdout: float = option(
        0.0, "share of the training rows on which checkpoints are chosen; 0 chooses them on dev", check=below_one
    )
    max_train_rows: int = option(
        0, "use this many training rows only, drawn at random; 0 means all", check=not_negative
    )

    def faults(self) -> list[str]:
        found = super().faults()
        own = [f"--{name}" for name in ("train_file", "dev_file") if getattr(self, name)]
        if self.task_name and own:
            found.append(f"--task_name and {own[0]} exclude each other: give a registered task or your own files")
        if not self.task_name:
            if len(own) < 2:
                found.append("give --task_name, or your own data with --train_file and --dev_file")
            if not self.text_columns:
                found.append("your own data needs --text_columns")
            if self.data_dir:
                found.append("--data_dir goes with --task_name")
        else:
            for name in ("text_columns", "label_column", "language", "metric"):
                if getattr(self, name) != getattr(DataOptions, name, ()):
                    found.append(f"--{name} goes with --train_file, not with --task_name")
        return found

    def task(self) -> Task:
        """The task these options name."""
        if self.task_name:
            return get_task(self.task_name)
        return custom_task(self.text_columns, self.label_column, self.language, self.metric)


@dataclass(frozen=True, kw_only=True)
class UnlabeledOptions(Options):
    """Rows without labels, which teachers judge; all distillers take them."""

    unlabeled_file: tuple[str, ...] = option(
        (),
        "texts without labels to learn from: .txt with one a line (the two of a pair with a tab between), or tables "
        "with the text columns; may be given again",
        repeat=True,
    )
    split_sentences: bool = option(False, "cut the lines of a .txt in --unlabeled_file into sentences")
    repair_pairs: int = option(
        0, "new pairs for every text of a pair task, without labels: near ones and random ones", check=not_negative
    )

    def faults(self) -> list[str]:
        found = super().faults()
        if self.split_sentences and not self.unlabeled_file:
            found.append("--split_sentences goes with --unlabeled_file")
        for name in ("unlabeled_file", "repair_pairs"):
            if getattr(self, name) and getattr(self, "transfer_set", None):
                found.append(f"--{name} and --transfer_set exclude each other: a transfer set has all its rows")
        return found


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """What every run has: a place, a device, a seed."""

    output_dir: str = option(help="folder that receives the model", state=False)
    overwrite: bool = option(False, "replace what --output_dir holds", state=False)
    resume: bool = option(False, "go on from the last checkpoint in --output_dir", state=False)
    seed: int = option(42, "the one seed that all random streams derive from", check=not_negative)
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "gpu"), state=False)
    cache_dir: str | None = option(
        None, "folder for transfer sets and teacher outputs; default: paddledistill in your cache folder", state=False
    )
    num_workers: int = option(1, "threads that prepare batches", check=not_negative, state=False)
    logging_steps: int = option(100, "steps between two lines of the log", check=positive, state=False)
    save_steps: int = option(
        0, "steps between two checkpoints; 0 saves at every evaluation", check=not_negative, state=False
    )
    eval_steps: int = option(0, "steps between two evaluations; 0 evaluates after every epoch", check=not_negative)
    max_steps: int = option(0, "stop after this many steps; 0 means by epochs", check=not_negative)

    def faults(self) -> list[str]:
        found = super().faults()
        if self.overwrite and self.resume:
            found.append("--overwrite and --resume exclude each other")
        return found

    def cache(self) -> Path:
        """The folder for stages that later runs can use again."""
        if self.cache_dir:
            return Path(self.cache_dir)
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return Path(base) / "paddledistill"


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions(Options):
    """Schedule and regularisation that all recipes share."""

    weight_decay: float = option(0.0, "decoupled weight decay; biases and layer norms are left out", check=not_negative)
    max_grad_norm: float = option(
        0.0, "clip the global gradient norm to this; 0 switches clipping off", check=not_negative
    )
    warmup_steps: int = option(0, "steps of linear warm-up", check=not_negative)
    warmup_proportion: float = option(0.0, "the same as a share of all steps", check=below_one)
    lr_scheduler: str = option("constant", "the learning rate after warm-up", choices=("constant", "linear", "cosine"))
    gradient_accumulation_steps: int = option(1, "batches per optimiser step", check=positive)
    precision: str = option("fp32", "number format of the forward pass", choices=("fp32", "bf16", "fp16"))
    average_checkpoints: int = option(
        0,
        "average the weights of this many last evaluations into the final model; 0 keeps the best",
        check=not_negative,
    )
    early_stopping: int = option(0, "stop after this many evaluations without a gain; 0 never", check=not_negative)

    def faults(self) -> list[str]:
        found = super().faults()
        if self.warmup_steps and self.warmup_proportion:
            found.append("--warmup_steps and --warmup_proportion exclude each other")
        optimizer = getattr(self, "optimizer", "adamw")
        if self.weight_decay and optimizer != "adamw":
            found.append(
                f"--weight_decay {self.weight_decay}: decoupled decay needs --optimizer adamw, not {optimizer}"
            )
        return found


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(DataOptions, OptimizerOptions, RunOptions):
    """What all classifier recipes share."""

    batch_size: int = option(32, "rows of a batch over all processes", check=positive)
    do_predict: bool = option(
        False, "also label the test file, into --output_dir/predictions, as GLUE and CLUE want them", state=False
    )
    test_file: str | None = option(None, "the test file; that of --data_dir when left out", state=False)

    def faults(self) -> list[str]:
        found = super().faults()
        if self.test_file and not self.do_predict:
            found.append("--test_file goes with --do_predict")
        if self.do_predict and not self.test_file and not self.data_dir:
            found.append("--do_predict needs --test_file, or --data_dir with a test file")
        return found


def parse(cls: type[O], argv: Sequence[str], description: str, prog: str | None = None) -> O:
    """Reads a command line into ``cls``.

    Flags may be repeated (the last one counts, unless the option collects them); booleans are written ``--flag``,
    ``--flag=True`` or ``--flag False``; dashes and underscores are the same.

    Raises:
        InputError: every fault of the command line, joined by semicolons.
    """
    parser = build_parser(cls, description, prog)
    raw = vars(parser.parse_args([_underscores(word) for word in argv]))
    values, faults = {}, []
    for item in dataclasses.fields(cls):
        if raw[item.name] is None:
            if item.default is dataclasses.MISSING:
                faults.append(f"--{item.name} is required")
            continue
        try:
            values[item.name] = parse_value(cls, item.name, raw[item.name])
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("; ".join(faults))
    options = cls(**{**cls.defaults_for(values), **values})
    if faults := options.faults():
        raise InputError("; ".join(faults))
    return options


def parse_value(cls: type[Options], name: str, text: str | list[str]) -> Any:
    """Reads the value of one option.

    Raises:
        InputError: no such option, or a value that it does not take.
    """
    item = next((item for item in dataclasses.fields(cls) if item.name == name), None)
    if item is None:
        raise InputError(f"--{name}: no such option")
    try:
        value = _convert(text, typing.get_type_hints(cls)[name])
    except ValueError as error:
        raise InputError(f"--{name}: {error}") from None
    choices, check = item.metadata.get("choices"), item.metadata.get("check")
    if choices and value is not None and value not in choices:
        raise InputError(f"--{name} {value}: expected one of {', '.join(choices)}")
    if check and value is not None and (wrong := check(value)):
        raise InputError(f"--{name} {value}: {wrong}")
    return value


def build_parser(cls: type[Options], description: str, prog: str | None = None) -> argparse.ArgumentParser:
    """The parser behind :func:`parse`; it keeps all values as text, so that all faults can be reported at once."""
    parser = _Parser(prog=prog, description=description, allow_abbrev=False)
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        kind, choices = hints[item.name], item.metadata.get("choices")
        default = "required" if item.default is dataclasses.MISSING else f"default: {_show(item.default)}"
        settings: dict[str, Any] = {
            "default": None,
            "help": f"{item.metadata['help']} ({default})".replace("%", "%%"),
            "metavar": "{" + ",".join(choices) + "}" if choices else item.name.rsplit("_", 1)[-1].upper(),
        }
        if _is_sequence(kind):
            settings["nargs"] = "+"
            if item.metadata.get("repeat"):
                settings["action"] = "extend"
        elif kind is bool:
            settings.update(nargs="?", const="True", metavar="True|False")
        parser.add_argument(f"--{item.name}", **settings)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise InputError(f"{message}; --help lists the options")


def _underscores(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + equals + value


def _is_sequence(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


def _show(value: Any) -> str:
    if value is None or value == ():
        return "none"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _convert(text: str | list[str], kind: Any) -> Any:
    if _is_sequence(kind):
        return tuple(_convert(word, typing.get_args(kind)[0]) for word in text)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        inner = next(part for part in typing.get_args(kind) if part is not type(None))
        return None if text.lower() == "none" else _convert(text, inner)
    if kind is bool:
        if text.lower() in ("true", "1", "yes"):
            return True
        if text.lower() in ("false", "0", "no"):
            return False
        raise ValueError(f"expected True or False, got {text!r}")
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"expected a whole number, got {text!r}") from None
    if kind is float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"expected a number, got {text!r}") from None
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"expected a finite number, got {text!r}")
        return value
    return text
