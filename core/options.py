"""Options of runs and of their training; see :mod:`args`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from args import Options, below_one, between, list_options, not_negative, option, parse_value, positive
from console import InputError
from core.arithmetic import BF16, FP32, PRECISIONS, bf16_fault
from core.layer_map import LAYER_MAPS, is_layer_map
from data.options import CACHE_DIR, DataOptions
from data.tasks import Task
from files import cache_folder

S = TypeVar("S", bound="SweepOptions")


class RunOptions(Options):
    """What every run has: a place, a device, a seed."""

    group = "output"

    output_dir: str = option(help="folder that receives the model", state=False)
    overwrite: bool = option(False, "replace what --output_dir holds", state=False)
    resume: bool = option(False, "go on from the last checkpoint in --output_dir", state=False)
    seed: int = option(42, "the one seed that all random streams derive from", check=not_negative, group="training")
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "gpu"), state=False, group="training")
    cache_dir: str | None = option(None, CACHE_DIR, state=False)
    num_workers: int = option(1, "threads that prepare batches", check=between(0, 256), state=False, group="training")
    logging_steps: int = option(100, "steps between two lines of the log", check=positive, state=False)
    save_steps: int = option(
        0, "steps between two checkpoints; 0 saves at every evaluation", check=not_negative, state=False
    )
    eval_steps: int = option(
        0, "steps between two evaluations; 0 evaluates after every epoch", check=not_negative, group="training"
    )
    max_steps: int = option(0, "stop after this many steps; 0 means by epochs", check=not_negative, group="training")

    def faults(self) -> list[str]:
        found = super().faults()
        if self.overwrite and self.resume:
            found.append("--overwrite and --resume exclude each other")
        return found

    def cache(self) -> Path:
        """The folder for stages that later runs can use again."""
        return cache_folder(self.cache_dir)


class SweepOptions(RunOptions):
    """A grid of runs instead of one."""

    group = "training"

    sweep: tuple[str, ...] = option(
        (), "a grid instead of one run: option=value,value,… ; may be given again for another option", repeat=True
    )
    seeds: int = option(1, "runs of every cell of the grid, with --seed and the seeds after it", check=positive)

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

    def at(self: S, cell: Mapping[str, Any]) -> S:
        """The options of one cell of a sweep; what depends on the cell's values and was not given follows them."""
        return self.replace(sweep=(), seeds=1, **cell)

    def task(self) -> Task:
        """What is learnt."""
        raise NotImplementedError


def grid(cls: type[SweepOptions], sweep: Sequence[str]) -> list[dict[str, Any]]:
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
        if name in list_options(cls):
            raise InputError(f"--sweep {entry}: --{name} takes several values at once, which a sweep cannot")
        axes[name] = [parse_value(cls, name, value) for value in values.split(",")]
        if len(set(axes[name])) < len(axes[name]):
            raise InputError(f"--sweep {entry}: a value stands there twice")
    return [dict(zip(axes, cell, strict=True)) for cell in itertools.product(*axes.values())] if axes else []


# What names the data, or says nothing on how a model learns.
NOT_SWEPT = (
    *(
        "dev_share",
        "teacher_model",
        "transfer_set",
        "stage",
        "task_name",
        "data_dir",
        "train_file",
        "dev_file",
        "test_file",
        "text_columns",
        "label_column",
        "language",
    ),
    *("metric", "model_type", "do_predict", "output_dir", "overwrite", "resume", "seed", "seeds", "sweep", "device"),
    *("cache_dir", "num_workers", "logging_steps", "save_steps", "trust_pickle"),
)


class PickleOptions(Options):
    """Whether weights of others may run code."""

    group = "model"

    trust_pickle: bool = option(
        False, "open pickled weights that hold more than numbers: doing so runs code that they may hold"
    )


class OptimizerOptions(Options):
    """Schedule and regularisation that all recipes share."""

    group = "training"

    weight_decay: float = option(0.0, "decoupled weight decay; biases and layer norms are left out", check=not_negative)
    max_grad_norm: float = option(
        0.0, "clip the global gradient norm to this; 0 switches clipping off", check=not_negative
    )
    warmup_steps: int = option(0, "steps of linear warm-up", check=not_negative)
    warmup_proportion: float = option(0.0, "the same as a share of all steps", check=below_one)
    lr_scheduler: str = option("constant", "the learning rate after warm-up", choices=("constant", "linear", "cosine"))
    gradient_accumulation_steps: int = option(1, "batches per optimiser step", check=positive)
    precision: str = option(
        FP32,
        "number format in which linear layers and LSTMs multiply; bf16 needs AMX, AVX512_BF16 or a GPU, fp16 a GPU",
        choices=(*PRECISIONS, "fp16"),
    )
    average_checkpoints: int = option(
        0,
        "average the weights of this many last evaluations, where that is no worse than the best; 0 keeps the best",
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


class TeacherPassOptions(Options):
    """How a teacher is asked."""

    group = "model"

    teacher_precision: str = option(
        FP32,
        "in which a teacher is computed on a processor; bf16 needs AMX or AVX512_BF16",
        choices=PRECISIONS,
    )

    def faults(self) -> list[str]:
        found = super().faults()
        if self.teacher_precision == BF16 and (fault := bf16_fault(getattr(self, "device", "cpu"))):
            found.append(f"--teacher_precision {BF16}: {fault}")
        return found


def teacher_weight_faults(weights: Sequence[float], teachers: int) -> list[str]:
    """What is wrong with the weights of several teachers; none are no fault."""
    found = []
    if weights and len(weights) != teachers:
        found.append(f"--teacher_weights: expected one per teacher ({teachers})")
    if weights and (min(weights) < 0 or sum(weights) == 0):
        found.append("--teacher_weights: must not be below 0, and not all 0")
    return found


class AdamWOptions(OptimizerOptions):
    """What trainings of whole networks share: AdamW with decay, a warm-up and a linear end, clipping."""

    group = "training"

    optimizer: str = option("adamw", "the optimiser", choices=("adamw", "adam", "adadelta"))
    lr_scheduler: str = option("linear", "the learning rate after warm-up", choices=("constant", "linear", "cosine"))
    warmup_proportion: float = option(0.1, "share of all steps that warm up", check=below_one)
    weight_decay: float = option(
        0.01, "decoupled weight decay; biases and layer norms are left out", check=not_negative
    )
    max_grad_norm: float = option(
        1.0, "clip the global gradient norm to this; 0 switches clipping off", check=not_negative
    )

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        values = super().derived(given)
        if "warmup_steps" in given:
            values["warmup_proportion"] = 0.0
        if given.get("optimizer", "adamw") != "adamw":
            values["weight_decay"] = 0.0
        return values


class ClassifierOptions(DataOptions, OptimizerOptions, SweepOptions):
    """What all classifier recipes share."""

    group = "training"

    batch_size: int = option(32, "rows of a batch over all processes", check=positive)
    do_predict: bool = option(
        False,
        "also label the test file, into --output_dir/predictions, as GLUE and CLUE want them",
        state=False,
        group="output",
    )
    test_file: str | None = option(None, "the test file; that of --data_dir when left out", state=False, group="data")

    def faults(self) -> list[str]:
        found = super().faults()
        if self.test_file and not self.do_predict:
            found.append("--test_file goes with --do_predict")
        if self.do_predict and not self.test_file and not self.data_dir:
            found.append("--do_predict needs --test_file, or --data_dir with a test file")
        return found


class BertTrainingOptions(ClassifierOptions):
    """What trainings of BERTs share beyond that: AdamW, a linear schedule, clipping."""

    model_type: str = option("bert", "the architecture", choices=("bert",), group="model")
    optimizer: str = option("adamw", "the optimiser", choices=("adamw", "adam", "adadelta"))
    lr_scheduler: str = option("linear", "the learning rate after warm-up", choices=("constant", "linear", "cosine"))
    max_grad_norm: float = option(
        1.0, "clip the global gradient norm to this; 0 switches clipping off", check=not_negative
    )


class LayerLossOptions(Options):
    """What of the layers is compared, and by how much it counts."""

    group = "training"

    layer_map: str = option(
        "uniform",
        f"which states of teacher and student are compared: {', '.join(LAYER_MAPS)}, or pairs teacher:student such as "
        "0:0,3:1,6:2 (0: embeddings)",
        check=is_layer_map,
    )
    embedding_weight: float = option(1.0, "weight of the embeddings", check=not_negative)
    hidden_weight: float = option(1.0, "weight of the hidden states", check=not_negative)
    attention_weight: float = option(
        1.0,
        "weight of the attention scores; left out where teacher and student have other numbers of heads",
        check=not_negative,
    )
    relations: str = option(
        "none",
        "relations between tokens in the last compared layer: of queries with keys and of values (minilm), or of "
        "queries, keys and values each with themselves (minilmv2)",
        choices=("none", "minilm", "minilmv2"),
    )
    relation_weight: float = option(1.0, "weight of the relations", check=not_negative)
    relation_heads: int = option(0, "their heads; 0 takes the student's", check=not_negative)
    patient_weight: float = option(
        0.0, "weight of the angle between first tokens' states (patient distillation)", check=not_negative
    )
    projection: str = option(
        "shared",
        "what brings the student's states to the teacher's width: one matrix, or one per state",
        choices=("shared", "per_layer"),
    )

    def faults(self) -> list[str]:
        found = super().faults()
        if self.relations == "none":
            found += [
                f"--{name} goes with --relations minilm or minilmv2"
                for name in ("relation_weight", "relation_heads")
                if self.asks(name)
            ]
        weights = (self.embedding_weight, self.hidden_weight, self.attention_weight, self.patient_weight)
        if not any(weights) and (self.relations == "none" or not self.relation_weight):
            found.append("the layers have no loss: all of its weights are 0")
        return found
