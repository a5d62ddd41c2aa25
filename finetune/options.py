"""Options of the teacher's fine-tuning; names as in Paddle's ``run_glue.py``."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from args import ClassifierOptions, not_negative, option, parse_value, positive
from console import InputError
from data.tasks import get_task

# Tasks with enough rows for large batches.
MANY_ROWS = ("sst-2", "qqp", "mnli", "qnli", "tnews", "cmnli", "lcqmc", "bq_corpus")
# A narrow BERT wants larger steps and more passes than the base size that the published values are for.
NARROW = 512
DEFAULT_MODEL = "all-MiniLM-L6-v2"


def is_narrow(model: str) -> bool:
    """Whether a model is known to be narrower than the base size, without loading it."""
    if model == DEFAULT_MODEL:
        return True
    try:
        config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
        return int(config["hidden_size"]) <= NARROW
    except (OSError, ValueError, KeyError, TypeError):
        # Not a folder, or a damaged one, which loading it will tell.
        return False


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(ClassifierOptions):
    """Options of ``finetune.run_classifier``."""

    model_type: str = option("bert", "the architecture", choices=("bert",))
    model_name_or_path: str = option(
        DEFAULT_MODEL,
        "a folder with safetensors, the bundled all-MiniLM-L6-v2, or a name that PaddleNLP downloads",
    )
    trust_pickle: bool = option(False, "open pickled weights of a local folder: doing so runs code that they may hold")
    learning_rate: float = option(5e-5, "the rate at its peak", check=positive)
    num_train_epochs: int = option(3, "passes over the training rows", check=positive)
    optimizer: str = option("adamw", "the optimiser", choices=("adamw", "adam", "adadelta"))
    lr_scheduler: str = option("linear", "the learning rate after warm-up", choices=("constant", "linear", "cosine"))
    max_grad_norm: float = option(
        1.0, "clip the global gradient norm to this; 0 switches clipping off", check=not_negative
    )
    sweep: tuple[str, ...] = option(
        (), "a grid instead of one run: option=value,value,… ; may be given again for another option", repeat=True
    )
    seeds: int = option(1, "runs of every cell of the grid, with --seed and the seeds after it", check=positive)

    @classmethod
    def defaults_for(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        if not given.get("task_name"):
            return {}
        values: dict[str, Any] = {"warmup_proportion": 0.06, "weight_decay": 0.01}
        if "warmup_steps" in given:
            del values["warmup_proportion"]
        if given.get("optimizer", "adamw") != "adamw":
            del values["weight_decay"]
        many = get_task(given["task_name"]).name in MANY_ROWS
        if is_narrow(given.get("model_name_or_path", DEFAULT_MODEL)):
            return {**values, "learning_rate": 1e-4, "num_train_epochs": 4, "batch_size": 128 if many else 32}
        return {**values, "learning_rate": 3e-5, "num_train_epochs": 3, "batch_size": 128 if many else 32}

    def faults(self) -> list[str]:
        found = super().faults()
        if self.seeds > 1 and not self.sweep:
            found.append("--seeds goes with --sweep")
        try:
            grid(type(self), self.sweep)
        except InputError as error:
            found.append(str(error))
        return found


def grid(cls: type[FinetuneOptions], sweep: Sequence[str]) -> list[dict[str, Any]]:
    """The cells of a sweep, each the values of its options.

    Raises:
        InputError: an option that is not there, or a value that it does not take.
    """
    axes: dict[str, list[Any]] = {}
    for entry in sweep:
        name, equals, values = entry.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals or not values:
            raise InputError(f"--sweep {entry}: expected option=value,value,…")
        if name in NOT_SWEPT:
            raise InputError(f"--sweep {entry}: --{name} is no option to sweep over")
        if name in axes:
            raise InputError(f"--sweep {entry}: {name} is given twice")
        axes[name] = [parse_value(cls, name, value) for value in values.split(",")]
    return [dict(zip(axes, cell, strict=True)) for cell in itertools.product(*axes.values())] if axes else []


NOT_SWEPT = ("output_dir", "overwrite", "resume", "seed", "seeds", "sweep", "device", "cache_dir")
