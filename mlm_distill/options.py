"""Options of the masked-LM recipe; names as in the published scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from args import Options, below_one, between, not_negative, option, positive, probability, size
from data.instances import Windows
from data.masking import Masking
from data.segmentation import LTP_MODEL, SEGMENTERS
from files import cache_folder


class CorpusOptions(Options):
    """Options of ``mlm_distill.create_pretraining_data``."""

    group = "data"

    input_dir: tuple[str, ...] = option(
        help="text files or folders of them (.txt, .jsonl with a field text; also .gz); blank lines between documents",
        also=("input_file",),
    )
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
    cache_dir: str | None = option(None, "folder for downloaded models", state=False, group="output")

    @classmethod
    def derived(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        # One pass does where every training hides others.
        return {"dupe_factor": 1} if given.get("dynamic_masking") else {}

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

    def windows(self) -> Windows:
        """How documents are cut."""
        return Windows(self.max_seq_length, self.doc_stride, self.short_seq_prob, self.ramdom_next)

    def masking(self) -> Masking:
        """How much is hidden."""
        return Masking(self.masked_lm_prob, self.max_predictions_per_seq, self.do_whole_word_mask)

    def cache(self) -> Any:
        """Where downloaded models are kept."""
        return cache_folder(self.cache_dir)


class TeacherOutputOptions(Options):
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
    cache_dir: str | None = option(None, "folder for downloaded models and graphs", state=False, group="output")

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
        if self.init_checkpoint and ".ckpt" in Path(self.init_checkpoint).name:
            found.append(
                f"--init_checkpoint {self.init_checkpoint}: TensorFlow's checkpoints are not read; give a folder in "
                "the layout of Hugging Face or PaddleNLP"
            )
        return found

    def cache(self) -> Any:
        """Where downloaded models and graphs are kept."""
        return cache_folder(self.cache_dir)
