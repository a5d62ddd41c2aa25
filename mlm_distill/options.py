"""Options of the masked-LM recipe; names as in the published scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from args import Options, below_one, between, not_negative, option, positive, probability, size
from core.layer_map import RULES
from core.options import AdamWOptions, LayerLossOptions, PickleOptions, RunOptions, TeacherPassOptions
from core.shapes import SHAPES
from data.corpus import FIELD, Reading
from data.instances import Windows
from data.masking import Masking
from data.options import CACHE_DIR
from data.segmentation import LTP_MODEL, SEGMENTERS
from files import cache_folder


class TextOptions(Options):
    """How raw text is read."""

    group = "data"

    text_field: str = option(FIELD, "of JSON lines, the field that holds the text")


class VocabularyOptions(TextOptions):
    """Options of ``mlm_distill.create_vocabulary``."""

    input_dir: tuple[str, ...] = option(
        help="text files or folders of them (.txt, .jsonl; also .gz)", also=("input_file",)
    )
    output_file: str = option(help="the vocabulary, a piece a line", group="output")
    overwrite: bool = option(False, "replace what is there", group="output")
    min_count: int = option(4, "characters and words that are rarer are left out", check=positive)
    max_words: int = option(
        3000, "words of several characters that are one piece each, the commonest", check=not_negative
    )


class CorpusOptions(TextOptions):
    """Options of ``mlm_distill.create_pretraining_data``."""

    input_dir: tuple[str, ...] = option(
        help="text files or folders of them (.txt, .jsonl; also .gz); blank lines between documents",
        also=("input_file",),
    )
    line_by_line: bool = option(False, "every line of a text file is a document")
    output_dir: str = option(help="folder that receives the shards", group="output")
    overwrite: bool = option(False, "replace what --output_dir holds", state=False, group="output")
    dry_run: bool = option(
        False, "say how many rows, tokens, bytes and hours it would be, and write nothing", state=False, group="output"
    )
    vocab_file: str | None = option(None, "the vocabulary; that of --model_name when left out", group="model")
    model_name: str | None = option(
        None, "the BERT whose vocabulary to take: a folder, or a name that PaddleNLP downloads", group="model"
    )
    do_lower_case: bool = option(True, "lower-case what the vocabulary of --vocab_file reads", group="model")
    language: str = option("zh", "whose words: zh by --segmenter, en by word pieces", choices=("zh", "en"))
    segmenter: str = option("jieba", "what cuts Chinese into words; ltp is to be installed", choices=SEGMENTERS)
    ltp_model: str = option(LTP_MODEL, "folder or name of the model of --segmenter ltp", group="model")
    reference_file: tuple[str, ...] = option(
        (), "instead of a segmenter: MiniRBT's whole-word references, one for each file of text, or a folder of them"
    )
    write_reference: str | None = option(
        None, "folder that receives such references of the text, NAME.ref each", state=False, group="output"
    )
    held_out: float = option(
        0.01,
        "share of every shard's documents that is kept apart, one at least, for run_distill to judge by",
        check=below_one,
    )
    do_whole_word_mask: bool = option(True, "hide words as a whole")
    ramdom_next: bool = option(
        False, "give half of the instances a second part of another document, and say so", also=("random_next",)
    )
    max_seq_length: int = option(512, "tokens of an instance, special tokens included", check=size)
    max_predictions_per_seq: int = option(20, "hidden tokens of an instance at most", check=positive)
    masked_lm_prob: float = option(0.15, "share of tokens that are hidden", check=probability)
    doc_stride: int = option(256, "tokens between the beginnings of two windows of a document", check=positive)
    short_seq_prob: float = option(0.1, "probability of a shorter window", check=probability)
    dupe_factor: int = option(5, "passes over the text, each with other windows and masks", check=between(1, 1000))
    dynamic_masking: bool = option(False, "store words instead of masks: a training hides others in every pass")
    random_seed: int = option(
        12345, "the one seed that all random streams derive from", check=not_negative, also=("seed",)
    )
    max_workers: int = option(2, "processes", check=between(1, 256), state=False)
    shard_megabytes: int = option(8, "megabytes of text behind a shard", check=between(1, 1024), group="output")
    cache_dir: str | None = option(None, CACHE_DIR, state=False, group="output")

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        # One pass does where every training hides others.
        return {"dupe_factor": 1} if given.get("dynamic_masking") else {}

    @classmethod
    def cases(cls) -> Mapping[str, Mapping[str, Any]]:
        return {"--dynamic_masking": {"dynamic_masking": True}}

    def faults(self) -> list[str]:
        found = super().faults()
        if (self.vocab_file is None) == (self.model_name is None):
            found.append("give --vocab_file or --model_name, one of them")
        if self.asks("do_lower_case") and self.model_name:
            found.append("--do_lower_case goes with --vocab_file: a model says itself")
        least = 5 if self.ramdom_next else 4
        if self.max_seq_length < least:
            found.append(f"--max_seq_length {self.max_seq_length}: must be at least {least}")
        if self.language != "zh" or self.reference_file:
            other = "--language zh" if self.language != "zh" else "text whose words no --reference_file tells"
            found += [f"--{name} goes with {other}" for name in ("segmenter", "ltp_model") if self.asks(name)]
        if self.asks("ltp_model") and self.segmenter != "ltp":
            found.append("--ltp_model goes with --segmenter ltp")
        if self.write_reference and self.dry_run:
            found.append("--write_reference: --dry_run writes nothing")
        if self.write_reference and (self.language != "zh" or self.reference_file):
            found.append("--write_reference goes with --language zh, and not with --reference_file")
        if self.reference_file and self.language != "zh":
            found.append("--reference_file goes with --language zh: in English pieces tell their words themselves")
        if self.dynamic_masking:
            found += [
                f"--{name} goes with masks that are stored, not with --dynamic_masking"
                for name in ("max_predictions_per_seq", "masked_lm_prob", "do_whole_word_mask")
                if self.asks(name)
            ]
        return found

    def reading(self) -> Reading:
        """What a document is."""
        return Reading(self.text_field, self.line_by_line)

    def windows(self) -> Windows:
        """How documents are cut."""
        return Windows(self.max_seq_length, self.doc_stride, self.short_seq_prob, self.ramdom_next)

    def masking(self) -> Masking:
        """How much is hidden."""
        return Masking(self.masked_lm_prob, self.max_predictions_per_seq, self.do_whole_word_mask)

    def cache(self) -> Any:
        """Where downloaded models are kept."""
        return cache_folder(self.cache_dir)


def _folder_around(name: str) -> Path:
    path = Path(name)
    return (path if path.is_dir() or not path.suffix else path.parent).resolve()


class TeacherOutputOptions(PickleOptions, TeacherPassOptions):
    """Options of ``mlm_distill.create_teacher_output_data``."""

    group = "data"

    input_file: str = option(help="folder that mlm_distill.create_pretraining_data wrote", also=("input_dir",))
    output_dir: str = option(help="folder that receives the shards with what the teacher said", group="output")
    overwrite: bool = option(False, "replace what --output_dir holds", state=False, group="output")
    teacher_dir: str | None = option(
        None, "the masked language model: a folder, or a name that PaddleNLP downloads", group="model"
    )
    bert_config_file: str | None = option(None, "as published: config.json in the teacher's folder", group="model")
    init_checkpoint: str | None = option(None, "as published: weights in the teacher's folder", group="model")
    truncation_factor: int = option(128, "pieces that are kept of every hidden place", check=between(1, 65_535))
    max_seq_length: int | None = option(None, "as published: what the instances must not be longer than", check=size)
    max_predictions_per_seq: int | None = option(
        None, "as published: how many hidden places an instance must not have more than", check=positive
    )
    predict_batch_size: int = option(64, "rows that the teacher reads at a time", check=positive, state=False)
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "gpu"), state=False, group="output")
    cache_dir: str | None = option(None, CACHE_DIR, state=False, group="output")

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        files = [given[name] for name in ("init_checkpoint", "bert_config_file") if given.get(name)]
        if given.get("teacher_dir") or not files:
            return {}
        path = Path(files[0])
        return {"teacher_dir": str(path if path.is_dir() else path.parent)}

    def faults(self) -> list[str]:
        found = super().faults()
        if not self.teacher_dir:
            found.append("--teacher_dir is required, or --bert_config_file with --init_checkpoint")
        for name in ("bert_config_file", "init_checkpoint"):
            given = getattr(self, name)
            if given and self.teacher_dir and _folder_around(given) != _folder_around(self.teacher_dir):
                found.append(f"--{name} {given}: expected the one in {self.teacher_dir}")
        if self.init_checkpoint and ".ckpt" in Path(self.init_checkpoint).name:
            found.append(
                f"--init_checkpoint {self.init_checkpoint}: TensorFlow's checkpoints are not read; give a folder in "
                "the layout of Hugging Face or PaddleNLP"
            )
        return found

    def cache(self) -> Any:
        """Where downloaded models and graphs are kept."""
        return cache_folder(self.cache_dir)


SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
PRESETS = tuple(name for name in SHAPES if "rbt" in name)


def is_layers(text: str) -> str | None:
    """A check: a rule, or numbers of layers from 0."""
    try:
        layers_from(text)
    except ValueError as error:
        return str(error)
    return None


def layers_from(text: str) -> list[int] | None:
    """Reads ``0,2,4,7,9,11``; None for the name of a rule.

    Raises:
        ValueError: neither.
    """
    if text in RULES:
        return None
    words = text.replace(" ", "").split(",")
    if not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError(f"expected {', '.join(RULES)}, or numbers of layers from 0 such as 0,2,4,7,9,11")
    found = [int(word) for word in words]
    if sorted(set(found)) != found:
        raise ValueError("expected numbers that rise")
    return found


class InitStudentOptions(PickleOptions):
    """Options of ``mlm_distill.init_student``."""

    group = "model"

    output_dir: str = option(help="folder that receives the student", group="output")
    overwrite: bool = option(False, "replace what --output_dir holds", state=False, group="output")
    teacher_dir: str | None = option(
        None,
        "whose weights and vocabulary it starts from: a folder, or a name that PaddleNLP downloads",
        also=("teacher_model", "teacher_name_or_path", "init_checkpoint"),
    )
    vocab_file: str | None = option(
        None,
        "a vocabulary: for random weights, or, with a teacher, for layers of it that are to learn another language",
    )
    do_lower_case: bool = option(True, "lower-case what that vocabulary reads")
    input_file: str | None = option(
        None,
        "a corpus of mlm_distill.create_pretraining_data in the student's vocabulary: a head without a teacher begins "
        "with how often pieces occur, embeddings of pieces that the teacher does not know with what stands beside them",
        also=("input_dir", "data_dir"),
    )
    preset: str | None = option(None, "a published shape", choices=PRESETS)
    num_hidden_layers: int | None = option(None, "layers, instead of the preset's or the teacher's", check=size)
    hidden_size: int | None = option(None, "hidden size, instead of the preset's or the teacher's", check=size)
    intermediate_size: int | None = option(None, "feed-forward neurons, instead of those", check=size)
    num_attention_heads: int | None = option(None, "attention heads, instead of those", check=size)
    max_position_embeddings: int = option(512, "the longest input of a student without a teacher", check=size)
    layers: str = option(
        "every_other",
        f"the teacher's layers that become the student's: numbers from 0 such as 0,2,4,7,9,11, or {', '.join(RULES)}",
        check=is_layers,
    )
    init: str = option("teacher", "its first weights: the teacher's, or random ones", choices=("teacher", "random"))
    hidden_init: str = option(
        "truncate",
        "what a narrower student starts with: the hidden units with the largest weights, or the principal directions",
        choices=("truncate", "principal"),
    )
    head: str = option("teacher", "its masked-LM head: the teacher's, or random", choices=("teacher", "random"))
    seed: int = option(42, "the one seed that all random streams derive from", check=not_negative)
    cache_dir: str | None = option(None, CACHE_DIR, state=False, group="output")

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        if not given.get("teacher_dir"):
            return {"init": "random", "head": "random"}
        return {"head": "random"} if given.get("vocab_file") or given.get("init") == "random" else {}

    def faults(self) -> list[str]:
        found = super().faults()
        if self.teacher_dir is None and self.vocab_file is None:
            found.append("give --teacher_dir or --vocab_file, or both")
        if self.vocab_file and self.teacher_dir and self.init == "random":
            found.append("--init random: reads nothing of a teacher; give --vocab_file and sizes alone")
        if self.vocab_file and self.teacher_dir and self.head == "teacher":
            found.append("--head teacher: its words are those of the teacher's vocabulary; leave out --vocab_file")
        if self.teacher_dir and self.init == "random" and self.head == "teacher":
            found.append("--head teacher: goes with --init teacher")
        its_head = self.init == "teacher" and self.head == "teacher" and not self.vocab_file
        if self.input_file and self.teacher_dir and its_head:
            found.append("--input_file: the teacher's head has learnt how often pieces occur; pass --head random")
        if self.teacher_dir is None:
            found += [
                f"--{name} teacher: goes with --teacher_dir"
                for name in ("init", "head")
                if getattr(self, name) == "teacher"
            ]
            missing = [f"--{name}" for name in SIZES if getattr(self, name) is None]
            if self.preset is None and missing:
                found.append(f"{', '.join(missing)}: required without --preset and --teacher_dir")
        else:
            found += [
                f"--{name}: a teacher says itself"
                for name in ("max_position_embeddings", *(() if self.vocab_file else ("do_lower_case",)))
                if self.asks(name)
            ]
        if self.init == "random":
            found += [f"--{name} goes with --init teacher" for name in ("layers", "hidden_init") if self.asks(name)]
        return found

    def cache(self) -> Path:
        """Where downloaded models are kept."""
        return cache_folder(self.cache_dir)


# Passes when the steps are given and end a training.
AS_MANY_AS_IT_TAKES = 1_000_000


class RunDistillOptions(PickleOptions, LayerLossOptions, AdamWOptions, TeacherPassOptions, RunOptions):
    """Options of ``mlm_distill.run_distill``."""

    group = "training"

    input_file: str | None = option(
        None,
        "folder of mlm_distill.create_pretraining_data, or of create_teacher_output_data",
        group="data",
        also=("input_dir", "data_dir"),
    )
    data_files_json: str | None = option(
        None, 'instead of it: a JSON file {"train": [text files]}; the corpus is made in --data_cache_dir', group="data"
    )
    data_cache_dir: str | None = option(None, "folder that receives the corpus of --data_files_json", group="data")
    preprocessing_num_workers: int = option(
        2, "processes that make it", check=between(1, 256), state=False, group="data", also=("max_workers",)
    )
    do_lower_case: bool = option(
        True, "as published: what a model says of its vocabulary decides", state=False, group="data"
    )
    language: str = option("zh", "of the text of --data_files_json", choices=("zh", "en"), group="data")
    eval_file: str | None = option(
        None,
        "another such folder, whose instances all serve evaluation, instead of what --input_file held out",
        group="data",
    )
    eval_rows: int = option(
        1000, "instances of the evaluation at most, drawn once; 0 takes all", check=not_negative, group="data"
    )
    max_seq_length: int | None = option(
        None, "as published: what instances must not be longer than", check=size, group="data"
    )
    max_predictions_per_seq: int = option(
        20, "hidden tokens of an instance at most, where masks are not stored", check=positive, group="data"
    )
    masked_lm_prob: float = option(
        0.15, "share of tokens that are hidden, where masks are not stored", check=probability, group="data"
    )
    do_whole_word_mask: bool = option(True, "hide words as a whole, where masks are not stored", group="data")
    student_model: str | None = option(
        None,
        "the student: a folder such as mlm_distill.init_student writes, or a name that PaddleNLP downloads",
        group="model",
        also=("init_checkpoint", "student_pretrained_weights", "student_model_name_or_path"),
    )
    student_config: str | None = option(
        None,
        "the student's shape, for random weights: a config.json, with vocab.txt beside it or the teacher's vocabulary",
        group="model",
        also=("bert_config_file",),
    )
    teacher: str = option(
        "stored",
        "a masked language model that is asked at every step: a folder or a name; stored: what --input_file holds; "
        "none: learn what the text says",
        group="model",
        also=("teacher_dir", "teacher_name_or_path", "teacher_model"),
    )
    dropout_prob: float = option(0.0, "dropout while this trains; config.json keeps the student's own", check=below_one)
    trained: str = option("all", "what learns: the whole student, or its masked-LM head alone", choices=("all", "head"))
    loss: str = option(
        "ce+cosine",
        "distance from the teacher: of the most likely pieces, cross-entropy and cosine; or of hidden states and "
        "softened answers",
        choices=("ce+cosine", "hidden+ce"),
    )
    truncation_factor: int = option(
        128, "pieces of a hidden place that are compared by ce+cosine", check=between(1, 65_535)
    )
    temperature: float = option(8.0, "softens both sides of hidden+ce", check=between(1e-3, 1e4))
    ce_weight: float = option(1.0, "weight of the answers in hidden+ce", check=not_negative)
    mlm_weight: float = option(
        0.0,
        "weight of what the text says, the hidden pieces, beside the teacher's answers",
        check=not_negative,
    )
    attention_weight: float = option(0.0, "weight of the attention scores in hidden+ce", check=not_negative)
    projection: str = option(
        "per_layer",
        "what brings the student's states to the teacher's width: one matrix, or one per state",
        choices=("shared", "per_layer"),
    )
    output_encoded_layers: bool = option(True, "as published: hidden+ce reads the layers' states")
    matches: tuple[str, ...] = option(
        (),
        "as published, names such as L6_hidden_mse: hidden+ce compares the states of layers at even distances anyway",
        state=False,
    )
    seed: int = option(
        42, "the one seed that all random streams derive from", check=not_negative, also=("random_seed",)
    )
    lr_scheduler: str = option(
        "linear",
        "the learning rate after warm-up",
        choices=("constant", "linear", "cosine"),
        also=("official_schedule",),
    )
    do_train: bool = option(True, "train", state=False)
    do_eval: bool = option(True, "evaluate while training; alone: only evaluate the student", state=False)
    batch_size: int = option(384, "instances of a batch over all processes", check=positive, also=("train_batch_size",))
    eval_batch_size: int = option(64, "instances of a batch of the evaluation", check=positive, state=False)
    num_train_epochs: int = option(3, "passes over the corpus", check=positive)
    max_steps: int = option(
        0, "stop after this many steps; 0 means by epochs", check=not_negative, also=("num_train_steps",)
    )
    warmup_steps: int = option(0, "steps of linear warm-up", check=not_negative, also=("num_warmup_steps",))
    warmup_proportion: float = option(0.02, "the same as a share of all steps", check=below_one)
    learning_rate: float = option(5e-5, "the rate at its peak", check=positive)
    save_steps: int = option(
        0,
        "steps between two checkpoints; 0 saves at every evaluation",
        check=not_negative,
        state=False,
        group="output",
        also=("ckpt_steps",),
    )
    fp16: bool = option(False, "as published: --precision fp16")

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        values = super().derived(given)
        if given.get("max_steps"):
            values["num_train_epochs"] = AS_MANY_AS_IT_TAKES
        if given.get("do_eval") and "do_train" not in given:
            values["do_train"] = False
        if given.get("fp16"):
            values["precision"] = "fp16"
        if given.get("data_files_json") and "input_file" not in given:
            values["input_file"] = given.get("data_cache_dir")
        live = given.get("teacher", "stored") not in ("stored", "none")
        if given.get("loss", "hidden+ce" if live else "ce+cosine") == "hidden+ce":
            values |= {"loss": "hidden+ce", "learning_rate": 4e-4}
        return values

    @classmethod
    def cases(cls) -> Mapping[str, Mapping[str, Any]]:
        return {"--teacher DIR": {"teacher": "DIR"}}

    def faults(self) -> list[str]:
        found = super().faults()
        if not self.input_file:
            found.append("--input_file is required, or --data_files_json with --data_cache_dir")
        if self.data_files_json and not self.data_cache_dir:
            found.append("--data_files_json goes with --data_cache_dir")
        if self.data_files_json and "input_file" in self.given:
            found.append("--data_files_json and --input_file exclude each other")
        if self.data_cache_dir and not self.data_files_json:
            found.append("--data_cache_dir goes with --data_files_json")
        if self.asks("preprocessing_num_workers") and not self.data_files_json:
            found.append("--preprocessing_num_workers goes with --data_files_json")
        if not self.do_lower_case:
            found.append("--do_lower_case False: leave it out, a model says itself how its vocabulary reads")
        if unknown := [name for name in self.matches if not re.fullmatch(EVEN_STATES, name)]:
            found.append(
                f"--matches {unknown[0]}: expected one such as L6_hidden_mse; --layer_map, --hidden_weight and "
                "--attention_weight say what else is compared"
            )
        if self.matches and self.asks("layer_map"):
            found.append("--matches and --layer_map exclude each other")
        if self.asks("language") and not self.data_files_json:
            found.append("--language goes with --data_files_json: a corpus was made for one")
        if not self.student_model and not self.student_config:
            found.append("--student_model is required, or --student_config for random weights")
        if not self.do_train:
            only = (*TRAINING_OPTIONS, *HIDDEN_OPTIONS, "precision")
            found += [f"--{name} goes with --do_train" for name in only if self.asks(name)]
        elif not self.do_eval:
            found.append("--do_eval False: a training chooses its checkpoints by what it finds on held-out text")
        if self.data_files_json and self.teacher == "stored":
            found.append("--data_files_json gives text without a teacher's answers: give --teacher, or none")
        if not self.do_train and not self.do_eval:
            found.append("--do_train, --do_eval: at least one of them is needed")
        if self.loss == "hidden+ce" and not self.is_live and self.teacher != "none":
            found.append("--loss hidden+ce needs a teacher to ask: give --teacher")
        if not self.is_live and self.asks("teacher_precision"):
            found.append("--teacher_precision goes with a --teacher that is asked")
        if self.loss == "hidden+ce" and not self.output_encoded_layers:
            found.append("--output_encoded_layers False: hidden+ce reads them; use --loss ce+cosine")
        if self.teacher == "none" and "loss" in self.given:
            found.append("--loss goes with a teacher")
        if self.teacher == "none" and self.asks("mlm_weight"):
            found.append("--mlm_weight goes with a teacher: without one the text is all there is to learn")
        if self.loss != "hidden+ce":
            found += [f"--{name} goes with --loss hidden+ce" for name in HIDDEN_OPTIONS if self.asks(name)]
        if (self.loss == "hidden+ce" or self.teacher == "none") and self.asks("truncation_factor"):
            found.append("--truncation_factor goes with --loss ce+cosine")
        if self.trained == "head" and (self.teacher != "none" or self.student_config):
            found.append("--trained head goes with --teacher none and --student_model")
        if self.asks("fp16") and self.precision != "fp16":
            found.append(f"--fp16 and --precision {self.precision} exclude each other")
        return found

    @property
    def is_live(self) -> bool:
        """Whether a teacher is asked at every step."""
        return self.teacher not in ("stored", "none")

    def masking(self) -> Masking:
        """How much is hidden of instances whose masks are not stored."""
        return Masking(self.masked_lm_prob, self.max_predictions_per_seq, self.do_whole_word_mask)


# What a student that is only judged does not need.
TRAINING_OPTIONS = (
    *("learning_rate", "batch_size", "num_train_epochs", "max_steps", "warmup_steps", "warmup_proportion", "resume"),
    *("weight_decay", "optimizer", "lr_scheduler", "gradient_accumulation_steps", "trained", "loss", "dropout_prob"),
    "mlm_weight",
    *("average_checkpoints", "early_stopping", "max_grad_norm", "eval_steps", "save_steps"),
)
HIDDEN_OPTIONS = (
    *("temperature", "ce_weight", "layer_map", "embedding_weight", "hidden_weight", "attention_weight", "relations"),
    *("relation_weight", "relation_heads", "patient_weight", "projection", "matches"),
)
# Of MiniRBT's matches those that pair a student's states with the teacher's at even distances.
EVEN_STATES = r"(L3n?|L4t|L6(n0|h\d+_(roberta|rbt6))?)_hidden_mse"


class TwoStageOptions(Options):
    """Options of ``mlm_distill.two_stage``."""

    group = "output"

    config: str = option(help="JSON file that describes corpus, teacher, assistant and student", group="data")
    output_dir: str = option(help="folder that receives a folder for every step")
    overwrite: bool = option(False, "start anew in --output_dir, where another configuration was at work", state=False)
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "gpu"), state=False)
    cache_dir: str | None = option(None, CACHE_DIR, state=False)
