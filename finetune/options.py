"""Options of the teacher's fine-tuning; names as in Paddle's ``run_glue.py``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from args import option, parse_value, positive
from console import InputError
from core.options import BertTrainingOptions
from data.tasks import TEACHERS, get_task
from files import read_json

# Tasks with enough rows for large batches.
MANY_ROWS = ("sst-2", "qqp", "mnli", "qnli", "tnews", "cmnli", "lcqmc", "bq_corpus")
# A narrow BERT wants larger steps and more passes than the base size that the published values are for.
NARROW = 512


def is_narrow(model: str) -> bool:
    """Whether a model is known to be narrower than the base size, without loading it."""
    if model == TEACHERS["en"]:
        return True
    try:
        return int(read_json(Path(model) / "config.json")["hidden_size"]) <= NARROW
    except (OSError, ValueError, KeyError, TypeError):
        # Not a folder, or a damaged one, which loading it will tell.
        return False


class FinetuneOptions(BertTrainingOptions):
    """Options of ``finetune.run_classifier``."""

    model_name_or_path: str = option(
        TEACHERS["en"],
        "a folder with weights, the bundled all-MiniLM-L6-v2, or a name that PaddleNLP downloads",
        group="model",
    )
    trust_pickle: bool = option(
        False,
        "open pickled weights that hold more than numbers: doing so runs code that they may hold",
        group="model",
    )
    learning_rate: float = option(5e-5, "the rate at its peak", check=positive)
    num_train_epochs: int = option(3, "passes over the training rows", check=positive)
    sweep: tuple[str, ...] = option(
        (), "a grid instead of one run: option=value,value,… ; may be given again for another option", repeat=True
    )
    seeds: int = option(1, "runs of every cell of the grid, with --seed and the seeds after it", check=positive)

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        task = get_task(given["task_name"]) if given.get("task_name") else None
        model = TEACHERS[task.language if task else given.get("language", "en")]
        values: dict[str, Any] = {"model_name_or_path": model}
        if task is None:
            return values
        values |= {"warmup_proportion": 0.06, "weight_decay": 0.01}
        if "warmup_steps" in given:
            del values["warmup_proportion"]
        if given.get("optimizer", "adamw") != "adamw":
            del values["weight_decay"]
        values["batch_size"] = 128 if task.name in MANY_ROWS else 32
        if is_narrow(given.get("model_name_or_path", model)):
            return {**values, "learning_rate": 1e-4, "num_train_epochs": 4}
        return {**values, "learning_rate": 3e-5, "num_train_epochs": 3}

    def faults(self) -> list[str]:
        found = super().faults()
        if self.seeds > 1 and not self.sweep:
            found.append("--seeds goes with --sweep")
        try:
            cells = grid(type(self), self.sweep)
        except InputError as error:
            return [*found, str(error)]
        for cell in cells:
            shown = ", ".join(f"{name}={value}" for name, value in cell.items())
            try:
                self.at(cell)
            except InputError as error:
                faults = [fault for fault in str(error).split("; ") if fault not in found]
                found += [f"--sweep, at {shown}: {fault}" for fault in faults]
        return found

    def at(self, cell: Mapping[str, Any]) -> FinetuneOptions:
        """The options of one cell of a sweep; what depends on the cell's values and was not given follows them."""
        return self.replace(sweep=(), seeds=1, **cell)


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
        if len(set(axes[name])) < len(axes[name]):
            raise InputError(f"--sweep {entry}: a value stands there twice")
    return [dict(zip(axes, cell, strict=True)) for cell in itertools.product(*axes.values())] if axes else []


# What names the data, or says nothing on how a model learns.
NOT_SWEPT = (
    *("task_name", "data_dir", "train_file", "dev_file", "test_file", "text_columns", "label_column", "language"),
    *("metric", "model_type", "do_predict", "output_dir", "overwrite", "resume", "seed", "seeds", "sweep", "device"),
    *("cache_dir", "num_workers", "logging_steps", "save_steps", "trust_pickle"),
)
