"""Options of the TinyBERT recipe; names as in the published scripts of Huawei and of PaddleNLP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from args import below_one, between, not_negative, option, positive, probability, size
from core.layer_map import is_layer_map
from core.options import (
    AdamWOptions,
    BertTrainingOptions,
    LayerLossOptions,
    PickleOptions,
    RunOptions,
    TeacherPassOptions,
    teacher_weight_faults,
)
from core.shapes import SHAPES
from data.options import CACHE_DIR, DataOptions, UnlabeledOptions
from data.tasks import TEACHERS
from files import cache_folder, size_in_bytes

PRESETS = {name: shape for name, shape in SHAPES.items() if name.startswith("tinybert-")}
PRESET = "tinybert-4l-312d"
STAGES = ("intermediate", "prediction")
# Copies of a row by task, as published.
COPIES = {"sst-2": 20, "qnli": 20, "mnli": 10, "qqp": 10}
OTHER_COPIES = 30


def is_size_on_disk(text: str) -> str | None:
    """A check: a number of bytes with a unit."""
    try:
        size_in_bytes(text)
    except ValueError as error:
        return str(error)
    return None


class TinyStudentOptions(PickleOptions):
    """The student's shape and first weights."""

    group = "model"

    student_model: str = option(
        PRESET,
        f"{' or '.join(PRESETS)}, or the folder of a student that has learnt before, such as by general distillation",
        also=("student_model_name_or_path",),
    )
    num_hidden_layers: int | None = option(None, "layers of the student, instead of the preset's", check=size)
    hidden_size: int | None = option(None, "its hidden size, instead of the preset's", check=size)
    intermediate_size: int | None = option(None, "its feed-forward neurons, instead of the preset's", check=size)
    num_attention_heads: int | None = option(None, "its attention heads, instead of the preset's", check=size)
    init: str = option("teacher", "its first weights: the teacher's, or random ones", choices=("teacher", "random"))
    init_layers: str = option(
        "uniform", "whose layers it starts from, by rule or by pairs, as --layer_map", check=is_layer_map
    )
    hidden_init: str = option(
        "truncate",
        "what a narrower student starts with: the hidden units with the largest weights, or the principal directions",
        choices=("truncate", "principal"),
    )
    hidden_dropout_prob: float = option(0.0, "dropout on hidden states", check=below_one, group="training")
    attention_probs_dropout_prob: float = option(0.0, "dropout on attention weights", check=below_one, group="training")

    def faults(self) -> list[str]:
        found = super().faults()
        own = [name for name in PRESETS[PRESET] if getattr(self, name) is not None]
        if self.student_model not in PRESETS:
            found += [
                f"--{name}: --student_model {self.student_model} has its shape and weights already"
                for name in (*own, *(name for name in ("init", "init_layers", "hidden_init") if self.asks(name)))
            ]
        elif self.init == "random":
            found += [
                f"--{name} goes with --init teacher" for name in ("init_layers", "hidden_init") if self.asks(name)
            ]
        return found


class StoredLayerOptions(LayerLossOptions, TeacherPassOptions):
    """What of the layers is compared, and what room the teacher's side of it may take."""

    group = "training"

    cache_budget: str = option(
        "20GB",
        "keep the teacher's hidden states and attention scores on the disk where they take no more than this and are "
        "read more than once; otherwise they are computed for every batch",
        check=is_size_on_disk,
    )

    def budget(self, passes: float) -> int:
        """Bytes that the teacher's features may take: what is read once is not worth being written."""
        return size_in_bytes(self.cache_budget) if passes > 1 else 0


class ReplacementOptions(PickleOptions):
    """TinyBERT's augmentation: words are replaced by others that fit in their place."""

    group = "data"

    N: int = option(OTHER_COPIES, "copies of every row", check=between(1, 10_000), also=("n_iter",))
    M: int = option(15, "candidates for every word", check=between(1, 1000))
    p: float = option(0.4, "probability of replacing a word", check=probability)
    pretrained_bert_model: str | None = option(
        None,
        "masked language model that proposes words: a folder, or a name that PaddleNLP downloads; without one the "
        "nearest rows of the teacher's embedding table serve",
        group="model",
    )
    glove_embs: str | None = option(
        None, "word vectors (GloVe, word2vec, fastText) that propose words for those of several pieces", group="model"
    )

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        task = (given.get("task_name") or "").lower()
        return {**super().derived(given), **({"N": COPIES[task]} if task in COPIES else {})}


class TaskDistillOptions(
    ReplacementOptions, UnlabeledOptions, TinyStudentOptions, StoredLayerOptions, AdamWOptions, BertTrainingOptions
):
    """Options of ``tinybert.task_distill``."""

    group = "training"

    teacher_model: str = option(
        help="model folder of the fine-tuned teacher", group="model", also=("teacher_dir", "teacher_path")
    )
    more_teachers: tuple[str, ...] = option(
        (),
        "further models for the task, BERTs or Bi-LSTMs: in the prediction stage the mean of all answers teaches",
        group="model",
    )
    teacher_weights: tuple[float, ...] = option(
        (), "the weights of --teacher_model and of --more_teachers in that mean; equal when left out", group="model"
    )
    stage: str = option(
        "both", "what to train: the layers, the answers, or one after the other", choices=(*STAGES, "both")
    )
    aug_train: bool = option(False, "learn from augmented copies of all rows too", group="data")
    transfer_set: str | None = option(
        None,
        "more rows to learn from, which need no labels: a transfer set, a table, or a .txt with a text per line",
        group="data",
    )
    batch_size: int = option(32, "rows of a batch over all processes", check=positive, also=("train_batch_size",))
    num_train_epochs: int = option(3, "passes of the prediction stage, or of the only one", check=positive)
    learning_rate: float = option(3e-5, "rate at its peak in the prediction stage, or in the only one", check=positive)
    intermediate_epochs: int = option(10, "passes of the intermediate stage of both", check=positive)
    intermediate_learning_rate: float = option(5e-5, "rate at its peak there", check=positive)
    prediction_loss: str = option(
        "soft_ce",
        "distance of the answers: softened cross-entropy, or squared error of logits",
        choices=("soft_ce", "mse"),
    )
    temperature: float = option(1.0, "softens both sides of soft_ce", check=between(1e-3, 1e4), also=("T",))
    over_classes: str = option(
        "sum", "how soft_ce takes the labels together; mean is what the published code does", choices=("sum", "mean")
    )
    alpha: float = option(0.0, "weight of the labels in the prediction stage", check=probability)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of this run, in their order."""
        return STAGES if self.stage == "both" else (self.stage,)

    def schedule_of(self, stage: str) -> tuple[int, float]:
        """Passes and learning rate of a stage."""
        if stage == "intermediate" and self.stage == "both":
            return self.intermediate_epochs, self.intermediate_learning_rate
        return self.num_train_epochs, self.learning_rate

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        values = super().derived(given)
        if given.get("stage") == "intermediate":
            values |= {"num_train_epochs": 10, "learning_rate": 5e-5}
        return values

    @classmethod
    def cases(cls) -> Mapping[str, Mapping[str, Any]]:
        return {**super().cases(), "--stage intermediate": {"stage": "intermediate"}}

    def faults(self) -> list[str]:
        found = super().faults()
        if self.stage != "both":
            found += [
                f"--{name} goes with --stage both; here it is --{other}"
                for name, other in (
                    ("intermediate_epochs", "num_train_epochs"),
                    ("intermediate_learning_rate", "learning_rate"),
                )
                if self.asks(name)
            ]
        if self.stage == "intermediate":
            found += [
                f"--{name} goes with the prediction stage"
                for name in (
                    "more_teachers",
                    "teacher_weights",
                    "prediction_loss",
                    "temperature",
                    "over_classes",
                    "alpha",
                )
                if self.asks(name)
            ]
            if self.do_predict:
                found.append("--do_predict goes with the prediction stage: before it nothing has learnt to answer")
        if self.stage == "prediction":
            found += [f"--{name} goes with the intermediate stage" for name in LAYER_OPTIONS if self.asks(name)]
        if self.teacher_weights and not self.more_teachers:
            found.append("--teacher_weights goes with --more_teachers")
        found += teacher_weight_faults(self.teacher_weights, 1 + len(self.more_teachers))
        if self.prediction_loss == "mse":
            found += [
                f"--{name} goes with --prediction_loss soft_ce"
                for name in ("temperature", "over_classes")
                if self.asks(name)
            ]
        if not self.aug_train and COPIES.get((self.task_name or "").lower(), OTHER_COPIES) != self.N:
            found.append("--N goes with --aug_train")
        if not self.aug_train:
            found += [
                f"--{name} goes with --aug_train"
                for name in ("M", "p", "pretrained_bert_model", "glove_embs")
                if self.asks(name)
            ]
        elif self.transfer_set:
            found.append("--aug_train and --transfer_set exclude each other: a transfer set is augmented already")
        return found


LAYER_OPTIONS = (
    *("layer_map", "embedding_weight", "hidden_weight", "attention_weight", "relations", "relation_weight"),
    *("relation_heads", "patient_weight", "projection", "cache_budget"),
)


class TinyAugmentOptions(ReplacementOptions, UnlabeledOptions, DataOptions):
    """Options of ``tinybert.data_augmentation``."""

    group = "output"

    output_file: str = option(help="a .tsv file, or a folder that receives a store")
    overwrite: bool = option(False, "replace what is there")
    teacher_model: str = option(
        TEACHERS["en"],
        "the BERT whose embedding table serves without a masked language model: a folder, or a name",
        group="model",
        also=("teacher_dir",),
    )
    cache_dir: str | None = option(None, CACHE_DIR)
    seed: int = option(42, "the one seed that all random streams derive from", check=not_negative, group="data")

    def faults(self) -> list[str]:
        found = super().faults()
        if self.asks("max_seq_length"):
            found.append("--max_seq_length: rows are written whole; give it to tinybert.task_distill")
        return found

    def cache(self) -> Any:
        """Where candidates and downloaded models are kept."""
        return cache_folder(self.cache_dir)


class GeneralDistillOptions(TinyStudentOptions, StoredLayerOptions, AdamWOptions, RunOptions):
    """Options of ``tinybert.general_distill``."""

    group = "training"

    teacher_model: str = option(
        TEACHERS["en"],
        "the pre-trained encoder: a folder, the bundled all-MiniLM-L6-v2, or a name that PaddleNLP downloads",
        group="model",
        also=("teacher_dir",),
    )
    text: tuple[str, ...] = option(
        help="text files, or folders of .txt files; a paragraph or sentence per line, blank lines between documents",
        group="data",
        repeat=True,
        also=("pregenerated_data",),
    )
    max_seq_length: int = option(
        128, "length of the sequences that the text is cut into, special tokens included", check=size, group="data"
    )
    split_sentences: bool = option(
        False, "one sentence per sequence, instead of as many lines as fit into its length", group="data"
    )
    language: str = option("en", "of the text, for --split_sentences", choices=("en", "zh"), group="data")
    held_out: float = option(
        0.01,
        "share of the sequences whose loss chooses checkpoints",
        check=lambda value: None if 0 < value < 1 else "must be above 0 and below 1",
        group="data",
    )
    batch_size: int = option(32, "sequences of a batch over all processes", check=positive, also=("train_batch_size",))
    num_train_epochs: int = option(3, "passes over the text", check=positive)
    learning_rate: float = option(1e-4, "the rate at its peak", check=positive)

    def faults(self) -> list[str]:
        found = super().faults()
        if self.asks("language") and not self.split_sentences:
            found.append("--language goes with --split_sentences")
        return found
