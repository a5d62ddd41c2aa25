"""Options of the Bi-LSTM recipes; names and defaults as in Paddle's published ``distill_lstm`` example."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from args import below_one, between, not_negative, option, positive, probability, size
from console import InputError
from core.options import ClassifierOptions, TeacherPassOptions, teacher_weight_faults
from data.augment import NGRAM_RANGE, Augmentation
from data.options import CACHE_DIR, DataOptions, UnlabeledOptions
from data.tasks import TAGGERS, Task, get_task
from files import cache_folder

# What the published README trains with, beyond the defaults below.
PUBLISHED_ALONE: dict[str, dict[str, Any]] = {
    "sst-2": {"max_epoch": 10, "dropout_prob": 0.4},
    "qqp": {"max_epoch": 35, "dropout_prob": 0.4, "batch_size": 256, "lr": 2.0},
    "chnsenticorp": {"max_epoch": 20, "dropout_prob": 0.2, "optimizer": "adam", "lr": 3e-4},
}
PUBLISHED_DISTILLED: dict[str, dict[str, Any]] = {
    "sst-2": {"dropout_prob": 0.2, "batch_size": 128},
    "qqp": {"dropout_prob": 0.2, "batch_size": 256, "n_iter": 10},
}
# Tasks without published values take those of the nearest one.
NEAREST = {("en", False): "sst-2", ("en", True): "qqp", ("zh", False): "chnsenticorp", ("zh", True): "qqp"}


def published(table: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The published values for a registered task; with another optimiser than the published one, its rate is unfit."""
    if not given.get("task_name"):
        return {}
    task = get_task(given["task_name"])
    name = task.name if task.name in PUBLISHED_ALONE else NEAREST[task.language, task.is_pair]
    values = dict(table.get(name, {}))
    if given.get("optimizer", values.get("optimizer")) != values.get("optimizer"):
        values.pop("lr", None)
    return values


LONGEST_NGRAM = 1_000_000
PUBLISHED_NGRAMS = "2 to 6 for English, 2 to 10 for Chinese"


class StudentOptions(ClassifierOptions):
    """The student and how it is trained."""

    group = "model"

    model_name: str = option(
        "all-MiniLM-L6-v2", "the BERT whose vocabulary an English student without a teacher shares"
    )
    vocab_path: str | None = option(None, "a vocabulary file: word pieces for English, words for Chinese")
    vocab_min_count: int = option(
        2, "Chinese words that are rarer than this in the training rows are read as characters", check=positive
    )
    vocab_size: int = option(
        0,
        "rows of the embedding; the most words of a Chinese vocabulary; 0 takes what there is",
        check=between(0, 10**8),
    )
    embedding_name: str | None = option(None, "word vectors that PaddleNLP downloads, to start from")
    embedding_path: str | None = option(
        None, "word vectors to start from: word2vec text or .bin, GloVe, fastText .vec; .gz of each"
    )
    embedding_init: str = option("random", "what the embeddings start from", choices=("random", "teacher"))
    embedding_std: float = option(
        0.3, "standard deviation that embeddings taken from the teacher are scaled to", check=positive
    )
    embedding_size: int = option(300, "width of the embedding", check=size)
    hidden_size: int = option(300, "width of one direction of the LSTM", check=size)
    num_layers: int = option(1, "LSTM layers", check=between(1, 1000))
    pair_features: str = option(
        "sum", "third feature of a pair: h1+h2 as in Paddle's code, or h1*h2", choices=("sum", "product")
    )
    pair_alignment: bool = option(
        False, "compare every token of a pair with what the other text says of it, before the LSTM reads it"
    )
    pooling: str = option(
        "last", "what stands for a text: the last states, or the maxima of all, for long ones", choices=("last", "max")
    )
    dropout_prob: float = option(0.1, "dropout on embeddings and on the dense layer", check=below_one)
    max_epoch: int = option(6, "passes over the rows", check=positive, group="training")
    lr: float = option(1.0, "the learning rate at its peak", check=positive, group="training")
    optimizer: str = option("adadelta", "the optimiser", choices=("adadelta", "adam", "adamw"), group="training")
    batch_size: int = option(64, "rows of a batch over all processes", check=positive)
    init_from_ckpt: str | None = option(None, "model folder of a student whose weights to start from")

    def faults(self) -> list[str]:
        found = super().faults()
        starts = {
            "--embedding_name": self.embedding_name,
            "--embedding_path": self.embedding_path,
            "--embedding_init teacher": self.embedding_init == "teacher",
        }
        given = [name for name, value in starts.items() if value]
        if len(given) > 1:
            found.append(f"{' and '.join(given)} exclude each other")
        if self.asks("embedding_std") and self.embedding_init != "teacher":
            found.append("--embedding_std goes with --embedding_init teacher")
        return found

    def check_task(self, task: Task) -> None:
        """Looks for options that have no effect on a task.

        Raises:
            InputError: there is one.
        """
        for name in ("pair_features", "pair_alignment"):
            if self.asks(name) and not task.is_pair:
                raise InputError(f"--{name} {getattr(self, name)}: goes with pairs, rows of {task.name} have one text")
        if self.asks("vocab_min_count") and (task.language != "zh" or self.vocab_path):
            raise InputError(
                f"--vocab_min_count {self.vocab_min_count}: goes with vocabularies of Chinese words that are made "
                "from the training rows"
            )


class SmallOptions(StudentOptions):
    """Options of ``distill_lstm.small``."""

    group = "model"

    teacher_dir: str | None = option(
        None, "a fine-tuned teacher whose embeddings to start from; its answers are not used"
    )

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        return published(PUBLISHED_ALONE, given)

    def faults(self) -> list[str]:
        found = super().faults()
        if self.embedding_init == "teacher" and not self.teacher_dir:
            found.append("--embedding_init teacher needs --teacher_dir")
        return found


class AugmentOptions(UnlabeledOptions):
    """How the rows to learn from are made."""

    group = "data"

    n_iter: int = option(20, "augmented copies of every row", check=between(0, 10_000))
    p_mask: float = option(0.1, "probability of masking a unit", check=probability)
    p_pos: float = option(
        0.0, "probability of replacing a word by one of the same part of speech; augments words", check=probability
    )
    pos_tagger: str = option("auto", "what tells the parts of speech; auto: textblob or jieba", choices=TAGGERS)
    spacy_model: str | None = option(None, "the installed model of --pos_tagger spacy, such as en_core_web_sm")
    p_ngram: float = option(0.25, "probability of keeping one n-gram of a row only", check=probability)
    ngram_range: tuple[int, ...] = option((), f"smallest and largest n; {PUBLISHED_NGRAMS} when left out")
    whole_word_mask: bool = option(False, "augment words instead of word pieces; Chinese always does")

    def faults(self) -> list[str]:
        found = super().faults()
        known = sorted((1, *self.ngram_range, LONGEST_NGRAM)) == [1, *self.ngram_range, LONGEST_NGRAM]
        if self.ngram_range and (len(self.ngram_range) != 2 or not known):
            found.append(
                f"--ngram_range {' '.join(map(str, self.ngram_range))}: expected two numbers from 1 up, smaller first, "
                f"at most {LONGEST_NGRAM:,}"
            )
        if self.p_mask + self.p_pos > 1:
            found.append(f"--p_mask {self.p_mask} and --p_pos {self.p_pos}: together they must not be above 1")
        if self.pos_tagger != "auto" and not self.p_pos:
            found.append("--pos_tagger goes with --p_pos")
        if self.spacy_model and self.pos_tagger != "spacy":
            found.append("--spacy_model goes with --pos_tagger spacy")
        return found

    def whole_words(self, task: Task) -> bool:
        """Whether words are augmented, and not word pieces."""
        return self.whole_word_mask or self.p_pos > 0 or task.language == "zh"

    def augmentation(self, task: Task) -> Augmentation:
        """The augmentation that these options describe."""
        return Augmentation(
            n_iter=self.n_iter,
            p_mask=self.p_mask,
            p_pos=self.p_pos,
            p_ngram=self.p_ngram,
            ngram_range=tuple(self.ngram_range) or NGRAM_RANGE[task.language],  # type: ignore[arg-type]
            tagger=self.pos_tagger,
            spacy_model=self.spacy_model,
        )


class DistillOptions(AugmentOptions, TeacherPassOptions, StudentOptions):
    """Options of ``distill_lstm.bert_distill``."""

    group = "training"

    teacher_dir: tuple[str, ...] = option(
        help="model folder of the fine-tuned teacher; of several, the mean counts: behind a BERT Bi-LSTMs serve too",
        group="model",
    )
    teacher_weights: tuple[float, ...] = option(
        (), "the weights of several teachers in the mean; equal when left out", group="model"
    )
    transfer_set: str | None = option(
        None, "rows to learn from: a transfer set, a table or a text file; made from train when left out", group="data"
    )
    alpha: float = option(0.0, "weight of the labels, which original rows have", check=probability)
    distill_loss: str = option(
        "mse", "distance to the teacher: squared error of logits, or softened cross-entropy", choices=("mse", "soft_ce")
    )
    temperature: float = option(1.0, "softens both sides of soft_ce", check=between(1e-3, 1e4))

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        return published(PUBLISHED_DISTILLED, given)

    def faults(self) -> list[str]:
        found = super().faults()
        # Not --n_iter, whose default goes by the task.
        for name in ("p_mask", "p_pos", "p_ngram", "ngram_range"):
            if self.transfer_set and self.asks(name):
                found.append(f"--{name} and --transfer_set exclude each other: a transfer set is augmented already")
        if self.asks("temperature") and self.distill_loss == "mse":
            found.append("--temperature goes with --distill_loss soft_ce")
        return found + teacher_weight_faults(self.teacher_weights, len(self.teacher_dir))


class AugmentDataOptions(AugmentOptions, DataOptions):
    """Options of ``distill_lstm.augment_data``."""

    group = "output"

    output_file: str = option(help="a .tsv file, or a folder that receives a store")
    overwrite: bool = option(False, "replace what is there")
    model_name: str = option(
        "all-MiniLM-L6-v2", "the BERT whose word pieces are the units of English rows", group="model"
    )
    vocab_path: str | None = option(None, "a vocabulary file instead", group="model")
    cache_dir: str | None = option(None, CACHE_DIR)
    seed: int = option(42, "the one seed that all random streams derive from", check=not_negative, group="data")

    def cache(self) -> Path:
        """Where downloaded models are kept."""
        return cache_folder(self.cache_dir)
