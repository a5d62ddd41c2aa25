"""Options of the once-for-all recipe; names as in PaddleSlim's published example."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from args import Options, below_one, between, not_negative, option, positive, size
from console import InputError
from core.options import BertTrainingOptions
from data.options import UnlabeledOptions
from ofa_bert.shapes import LAYER_RULES, OfaRecord

STAGES = ("width", "depth", "final")
GUIDES = ("same", "full")
# By stage: the options that are read by it alone, and what a run needs to have it.
STAGE_OPTIONS = {
    "width": ("lambda_logit", "lambda_rep"),
    "depth": ("depth_lambda_logit", "depth_lambda_rep", "depth_epochs", "depth_guide"),
    "final": ("final_epochs", "final_learning_rate"),
}
STAGE_NEEDS = {
    "width": "it takes --stage all or width (the depth stage has --depth_lambda_logit and --depth_lambda_rep)",
    "depth": "it takes --stage all or depth, and depths below 1 in --depth_mult_list",
    "final": "it takes --stage final, or --stage all with --final_epochs",
}


def shares(values: tuple[float, ...]) -> str | None:
    """A check: multipliers lie above 0 and up to 1, the whole network among them."""
    if any(not 0 < value <= 1 for value in values):
        return "every multiplier must be above 0 and at most 1"
    return None if 1.0 in values else "1.0, the whole network, must be among them"


def share(value: float) -> str | None:
    """A check: a multiplier lies above 0 and up to 1."""
    return None if 0 < value <= 1 else "must be above 0 and at most 1"


def sandwich(value: int) -> str | None:
    """A check: beside the largest and the smallest there is another one, or all learn."""
    return None if value == 0 or value > 2 else "must be 0, for all, or at least 3: the largest, the smallest, others"


def one_process(value: int) -> str | None:
    """A check of the published ``--n_gpu``."""
    if value in (0, 1):
        return None
    return "one process uses one GPU; start several with python -m paddle.distributed.launch"


N_GPU = "accepted as published, without an effect"


class OfaOptions(UnlabeledOptions, BertTrainingOptions):
    """Options of ``ofa_bert.run_glue_ofa``."""

    group = "training"

    model_name_or_path: str = option(
        help="model folder of the fine-tuned teacher; for --stage depth or final, of the network to go on with",
        group="model",
    )
    n_gpu: int = option(1, N_GPU, check=one_process, state=False)
    stage: str = option(
        "all", "what to train; all: width, then depth if there are depths, then final", choices=("all", *STAGES)
    )
    width_mult_list: tuple[float, ...] = option(
        (1.0, 5 / 6, 2 / 3, 0.5), "shares of heads and neurons that sub-networks keep", check=shares
    )
    depth_mult_list: tuple[float, ...] = option((1.0,), "shares of layers that sub-networks keep", check=shares)
    layer_rule: str = option("keep_last", "which layers stay at a depth", choices=LAYER_RULES)
    lambda_logit: float = option(1.0, "weight of the logits in the width stage", check=not_negative)
    lambda_rep: float = option(0.1, "weight of the hidden states in the width stage", check=not_negative)
    depth_lambda_logit: float = option(1.0, "weight of the logits in the depth stage", check=not_negative)
    depth_lambda_rep: float = option(1.0, "weight of the hidden states in the depth stage", check=not_negative)
    depth_guide: str = option(
        "same",
        "who teaches the depths of a width: the network of the width stage at the same width, or at full width, as in "
        "the published code",
        choices=GUIDES,
    )
    choose_by: str = option(
        "task",
        "what chooses checkpoints, as a mean over the sub-networks: the task's metric, or teacher: how near their "
        "answers are to its own, on the rows that choose and, with --holdout, on the same share of the rows without "
        "labels (2,000 at most), which then are not learnt from; the training on labels is always chosen by the task",
        choices=("task", "teacher"),
    )
    sub_networks_per_step: int = option(
        0,
        "how many sub-networks learn from a batch: the largest, the smallest, and others drawn at random; 0 means all",
        check=sandwich,
    )
    num_train_epochs: int = option(3, "passes of a stage over the rows", check=positive)
    depth_epochs: int = option(0, "passes of the depth stage; 0 means --num_train_epochs", check=not_negative)
    final_epochs: int = option(
        0, "passes of the final training on labels within --stage all; 0 leaves it out", check=not_negative
    )
    learning_rate: float = option(2e-5, "the rate at its peak", check=positive)
    final_learning_rate: float = option(
        0.0, "the same for the training on labels; 0 means --learning_rate", check=not_negative
    )
    hidden_dropout_prob: float = option(0.1, "dropout on hidden states", check=below_one)
    attention_probs_dropout_prob: float = option(0.1, "dropout on attention weights", check=below_one)
    transfer_set: str | None = option(
        None,
        "more rows to learn from, which need no labels: a transfer set, a table, or a .txt with a text per line",
        group="data",
    )

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of this run, in their order."""
        if self.stage != "all":
            return (self.stage,)
        wanted = {"width": True, "depth": min(self.depth_mult_list) < 1, "final": self.final_epochs > 0}
        return tuple(name for name in STAGES if wanted[name])

    def epochs_of(self, stage: str) -> int:
        """Passes over the rows."""
        special = {"depth": self.depth_epochs, "final": self.final_epochs}
        return special.get(stage, 0) or self.num_train_epochs

    def lambdas_of(self, stage: str) -> tuple[float, float]:
        """Weights of logits and hidden states."""
        if stage == "width":
            return self.lambda_logit, self.lambda_rep
        return self.depth_lambda_logit, self.depth_lambda_rep

    def rate_of(self, stage: str) -> float:
        """The learning rate at its peak."""
        return (self.final_learning_rate if stage == "final" else 0.0) or self.learning_rate

    def faults(self) -> list[str]:
        found = super().faults()
        for stage in ("width", "depth"):
            if stage in self.stages and not any(self.lambdas_of(stage)):
                found.append(f"the {stage} stage has no loss: both of its lambdas are 0")
        largest = len(self.width_mult_list) * (1 if self.stages == ("width",) else len(self.depth_mult_list))
        if self.sub_networks_per_step >= max(largest, 3):
            found.append(
                f"--sub_networks_per_step {self.sub_networks_per_step}: no stage of this run has more than {largest} "
                "sub-networks; leave it out, and all learn from every batch"
            )
        if self.depth_guide == "full" and len(self.width_mult_list) == 1:
            found.append("--depth_guide full: there is no other width in --width_mult_list; leave it out")
        if self.choose_by == "teacher" and self.stages == ("final",):
            found.append("--choose_by teacher: the final stage learns from labels; it takes a width or a depth stage")
        if self.stage == "depth" and min(self.depth_mult_list) == 1:
            found.append("--stage depth needs depths below 1 in --depth_mult_list")
        if self.stage == "width" and min(self.depth_mult_list) < 1:
            found.append("--depth_mult_list goes with --stage all, depth or final")
        for stage, names in STAGE_OPTIONS.items():
            for name in names:
                if stage not in self.stages and self.asks(name):
                    found.append(f"--{name}: this run has no {stage} stage; {STAGE_NEEDS[stage]}")
        return found

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {"num_train_epochs": 6} if (given.get("task_name") or "").lower() == "qqp" else {}
        if given.get("stage") in ("depth", "final"):
            try:
                record = OfaRecord.load(Path(given.get("model_name_or_path", "")))
            except InputError:
                # Said by the run itself, with everything else that is wrong.
                return values
            values |= {"width_mult_list": record.widths, "layer_rule": record.rule}
            if given["stage"] == "final":
                values["depth_mult_list"] = record.depths
        return values


class SubModelOptions(Options):
    """Options of ``ofa_bert.export_model``."""

    model_type: str = option("bert", "the architecture", choices=("bert",))
    model_name_or_path: str = option(help="folder that ofa_bert.run_glue_ofa wrote")
    sub_model_output_dir: str = option(help="folder that receives the sub-model, as a model folder")
    static_sub_model: str | None = option(None, "folder that receives its static graph, as deploy.export writes it")
    max_seq_length: int | None = option(
        None, "longest input of the sub-model in tokens; the network's own when left out", check=positive
    )
    n_gpu: int = option(1, N_GPU, check=one_process)
    width_mult: float = option(1.0, "share of heads and neurons", check=share)
    depth_mult: float = option(1.0, "share of layers", check=share)
    data_dir: str | None = option(
        None, "folder of the task whose dev rows the graph is checked on; else the built-in corpus"
    )
    overwrite: bool = option(False, "replace earlier sub-models in both folders")

    def faults(self) -> list[str]:
        found = super().faults()
        if self.data_dir and not self.static_sub_model:
            found.append("--data_dir goes with --static_sub_model")
        return found


UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def amount(text: str) -> float:
    """Reads a number with a unit, such as ``16M``.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?)\s*", text.upper())
    if not found or float(found[1]) == 0:
        raise ValueError(f"expected a number above 0 such as 16M, 900K or 16000000, got {text!r}")
    return float(found[1]) * UNITS[found[2]]


def is_amount(text: str) -> str | None:
    """A check: the value is a number, perhaps with a unit."""
    try:
        amount(text)
    except ValueError as error:
        return str(error)
    return None


class SearchOptions(Options):
    """Options of ``ofa_bert.search``."""

    model_dir: str = option(help="folder that ofa_bert.run_glue_ofa wrote")
    output_dir: str = option(help="folder that receives the search's record, its picture and the chosen sub-model")
    data_dir: str | None = option(
        None, "folder of the task's files, whose dev rows are evaluated on; those of the training when left out"
    )
    dev_file: str | None = option(None, "the rows to evaluate on, of a task of your own")
    skip_bad_rows: bool = option(False, "skip and count rows that cannot be read instead of stopping at the first")
    width_mult_list: tuple[float, ...] = option((), "widths to look at; those that were trained when left out")
    depth_mult_list: tuple[float, ...] = option((), "depths to look at; those that were trained when left out")
    max_latency_ms: float | None = option(None, "the longest latency at batch 1, a median", check=positive)
    max_params: str | None = option(None, "the most parameters, such as 16M", check=is_amount)
    max_encoder_params: str | None = option(None, "the same without the embeddings", check=is_amount)
    min_accuracy_ratio: float | None = option(
        None, "the least share of the whole network's score (or of --teacher_dir's) on dev", check=positive
    )
    teacher_dir: str | None = option(None, "the model whose score --min_accuracy_ratio is a share of")
    seq_len: int = option(32, "tokens per row when latency is measured", check=size)
    threads: int = option(1, "threads when latency is measured", check=between(1, 1024))
    rounds: int = option(10, "turns of every sub-network", check=positive)
    overwrite: bool = option(False, "replace an earlier search in --output_dir")

    def faults(self) -> list[str]:
        found = super().faults()
        if self.data_dir and self.dev_file:
            found.append("--data_dir and --dev_file exclude each other")
        for name in ("width_mult_list", "depth_mult_list"):
            values = getattr(self, name)
            if any(not 0 < value <= 1 for value in values):
                found.append(f"--{name}: every multiplier must be above 0 and at most 1")
        return found
