"""Tiny models, data, options and processes that the tests share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import Any

import numpy as np
import pytest

from data.demo_corpus import write_folder
from data.tasks import Task, get_task
from data.tokenization import SPECIAL_TOKENS, JiebaTokenizer, WordPieceTokenizer
from distill_lstm.options import DistillOptions, SmallOptions
from finetune.options import FinetuneOptions
from models import folder as model_folder
from models.bert import BertConfig, BertForSequenceClassification, initial_weights
from models.bilstm import BiLSTMConfig
from models.folder import LoadedModel, new_bilstm
from models.weights import layer_weights, set_weights, write_safetensors
from process import processor_fields, read_cpuinfo

ROOT = Path(__file__).resolve().parent.parent
GOOD = ("good", "great", "superb", "fine", "lovely", "brilliant")
BAD = ("bad", "awful", "dull", "poor", "weak", "terrible")
NEUTRAL = ("the", "film", "story", "cast", "plot", "is", "was", "a", "very", "scene", "music", "end", "and", "it")
TOPICS = ("swim", "cook", "drive", "paint", "sing", "read", "write", "dance")
VOCAB = [
    *SPECIAL_TOKENS,
    *ascii_lowercase,
    *(f"##{letter}" for letter in ascii_lowercase),
    *"0123456789.,!?'-",
    *(word for word in (*GOOD, *BAD, *NEUTRAL, *TOPICS) if len(word) > 1),
    *(f"##{first}{second}" for first in "aeiou" for second in ascii_lowercase),
    *"这的不很好房间酒店服务干净书看错差电影脑屏幕，。！",
]
# oneDNN multiplies bf16 on processors with these; those that say so of themselves do it quickly, too.
needs_bf16 = pytest.mark.skipif(
    not {"avx512bw", "avx512vl", "avx512dq"} <= set(processor_fields(read_cpuinfo()).get("flags", "").split()),
    reason="this processor has no AVX-512, without which oneDNN has no bf16",
)
SINGLE, PAIR = get_task("sst-2"), get_task("qqp")


def bert_config(**changes: Any) -> BertConfig:
    """The shape of a tiny BERT."""
    shape = {
        "vocab_size": len(VOCAB),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    }
    return BertConfig(**{**shape, **changes})


def bert(task: Task = SINGLE, seed: int = 0, max_seq_length: int = 32, **changes: Any) -> LoadedModel:
    """A tiny BERT with random weights, in evaluation mode."""
    config = bert_config(num_labels=task.outputs, **changes)
    model = BertForSequenceClassification(config)
    rng = np.random.default_rng(seed)
    weights = initial_weights(config, rng)
    for name, value in weights.items():
        if name.endswith("bias") or "norm" in name:
            weights[name] = value + rng.normal(0, 0.1, value.shape).astype(np.float32)
    set_weights(model, weights, "the test")
    model.eval()
    return LoadedModel(model, WordPieceTokenizer(VOCAB), task, max_seq_length)


def bilstm(task: Task = SINGLE, seed: int = 0, max_seq_length: int = 32, **changes: Any) -> LoadedModel:
    """A tiny Bi-LSTM with random weights, in evaluation mode."""
    shape = {
        "vocab_size": len(VOCAB),
        "embedding_size": 8,
        "hidden_size": 6,
        "is_pair": task.is_pair,
        "num_labels": task.outputs,
    }
    config = BiLSTMConfig(**{**shape, **changes})
    loaded = new_bilstm(config, WordPieceTokenizer(VOCAB), task, max_seq_length, seed)
    loaded.model.eval()
    return loaded


def aligned_bilstm(**changes: Any) -> LoadedModel:
    """A tiny Bi-LSTM that aligns pairs, whose weights are large enough for likeness to matter."""
    loaded = bilstm(PAIR, pair_alignment=True, **changes)
    rng = np.random.default_rng(7)
    for weight in (loaded.model.embedding.weight, *loaded.model.alignment.parameters()):
        noise = rng.normal(0, 0.5, weight.shape).astype(np.float32)
        weight.set_value(np.where(weight.numpy() == 0, 0, weight.numpy() + noise).astype(np.float32))
    return loaded


def chinese_bilstm(seed: int = 0) -> LoadedModel:
    """A tiny Bi-LSTM over words."""
    words = ["[PAD]", "[UNK]", "[MASK]", *"房间干净服务很好书的内容看得失望，。", "房间", "服务", "内容"]
    config = BiLSTMConfig(vocab_size=len(words), embedding_size=8, hidden_size=6)
    loaded = new_bilstm(config, JiebaTokenizer(words), get_task("chnsenticorp"), 32, seed)
    loaded.model.eval()
    return loaded


def write_pretrained(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A folder as a pre-trained encoder is published: config, safetensors, vocabulary, no classifier."""
    loaded = bert(seed=seed, **changes)
    folder.mkdir(parents=True)
    loaded.tokenizer.save(folder)
    weights = {k: v for k, v in layer_weights(loaded.model).items() if not k.startswith("classifier.")}
    write_safetensors(folder / "model.safetensors", weights)
    config = {k: v for k, v in loaded.model.config_dict().items() if k != "num_labels"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def write_model(folder: Path, loaded: LoadedModel | None = None) -> Path:
    """A model folder as training leaves it, of a tiny BERT unless told otherwise."""
    model_folder.save(folder, bert() if loaded is None else loaded)
    return folder


def sentence(rng: Random, label: int) -> str:
    """A sentence whose label a model can learn: one word says it."""
    words = rng.choices(NEUTRAL, k=rng.randint(2, 9))
    words.insert(rng.randint(0, len(words)), rng.choice(GOOD if label else BAD))
    return " ".join(words)


def write_single(folder: Path, train: int = 60, dev: int = 20, seed: int = 0) -> Path:
    """A data folder in the layout of SST-2."""
    rng = Random(seed)
    folder.mkdir(parents=True)
    for split, count in (("train", train), ("dev", dev)):
        rows = [f"{sentence(rng, number % 2)}\t{number % 2}" for number in range(count)]
        (folder / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *rows, ""]), encoding="utf-8")
    return folder


def write_pairs(folder: Path, train: int = 60, dev: int = 20, seed: int = 0) -> Path:
    """A data folder in the layout of QQP: pairs share their topic or do not."""
    rng = Random(seed)
    folder.mkdir(parents=True)
    for split, count in (("train", train), ("dev", dev)):
        rows = []
        for number in range(count):
            first, other = rng.sample(TOPICS, 2)
            second = first if number % 2 else other
            rows.append(f"{number}\t{number}\t{number}\thow to {first} ?\tthe very end of {second}\t{number % 2}")
        header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
        (folder / f"{split}.tsv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return folder


def write_chinese(folder: Path, train: int = 60, dev: int = 20) -> Path:
    """A data folder in the layout of ChnSentiCorp."""
    write_folder("chnsenticorp", folder, train, dev, seed=0)
    return folder


# What a task would bring along: tiny runs are compared with each other and want one and the same.
PLAIN = {"warmup_proportion": 0.0, "weight_decay": 0.0}


def finetune_options(output_dir: Path, data_dir: Path, pretrained: Path, /, **changes: Any) -> FinetuneOptions:
    """A fine-tuning that takes a second."""
    values = {
        **PLAIN,
        "task_name": "sst-2",
        "data_dir": str(data_dir),
        "model_name_or_path": str(pretrained),
        "output_dir": str(output_dir),
        "cache_dir": str(output_dir.parent / "cache"),
        "max_seq_length": 24,
        "batch_size": 16,
        "learning_rate": 1e-2,
        "num_train_epochs": 2,
        "logging_steps": 1,
        "device": "cpu",
    }
    return FinetuneOptions(**{**values, **changes})


def student_values(output_dir: Path, data_dir: Path, /, **changes: Any) -> dict[str, Any]:
    """Options of a student that trains in a second."""
    values = {
        "task_name": "sst-2",
        "data_dir": str(data_dir),
        "output_dir": str(output_dir),
        "cache_dir": str(output_dir.parent / "cache"),
        "max_seq_length": 24,
        "batch_size": 16,
        "embedding_size": 8,
        "hidden_size": 8,
        "optimizer": "adam",
        "lr": 1e-2,
        "max_epoch": 2,
        "dropout_prob": 0.1,
        "logging_steps": 1,
        "device": "cpu",
    }
    return {**values, **changes}


def small_options(output_dir: Path, data_dir: Path, vocabulary: Path, /, **changes: Any) -> SmallOptions:
    """A training on labels alone that takes a second."""
    return SmallOptions(**student_values(output_dir, data_dir, **{"vocab_path": str(vocabulary), **changes}))


def distill_options(output_dir: Path, data_dir: Path, teacher: Path, /, **changes: Any) -> DistillOptions:
    """A distillation that takes a second."""
    return DistillOptions(
        **student_values(output_dir, data_dir, **{"teacher_dir": (str(teacher),), "n_iter": 2, **changes})
    )


def arguments(options: Any) -> list[str]:
    """A command line that gives these options."""
    words = []
    for name, value in options.as_dict().items():
        if value is None or value == [] or name not in options.given:
            continue
        words += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    return words


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process that finds the project, installed or not."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PADDLEDISTILL_NO_TUNING": "1", "PYTHONUNBUFFERED": "1", **more}


def start(module: str, *words: str, **more: str) -> subprocess.Popen:
    """Starts ``python -m module words`` without waiting for it; ``more`` goes into its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def started_until(module: str, options: Any, lines: int, *more: str, part: str = ".") -> subprocess.Popen:
    """A run that has written at least ``lines`` lines of its log since it started, and a checkpoint.

    Args:
        module: the script.
        options: its options.
        lines: of the log.
        more: words of the command line.
        part: of a run in stages, the stage's folder.
    """
    child = start(module, *arguments(options), *more)
    log, checkpoint = (Path(options.output_dir) / part / name for name in ("metrics.jsonl", "checkpoint"))
    give_up = time.monotonic() + 300
    while child.poll() is None and time.monotonic() < give_up:
        if log.exists() and log.read_bytes().count(b"\n") >= lines and checkpoint.exists():
            return child
        time.sleep(0.002)
    child.kill()
    raise AssertionError(f"{lines} lines never came: {child.communicate()[1][-2000:]}")


def kill(child: subprocess.Popen) -> str:
    """Kills a run at once; what it had said."""
    child.kill()
    out, _ = child.communicate()
    assert child.returncode == -signal.SIGKILL
    return out


def run(command: list[str], cwd: Path = ROOT, input: str | None = None, **more: str) -> subprocess.CompletedProcess:
    """Runs a Python command line (without the interpreter) to its end."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment(**more),
        input=input,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


def log_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl`` without what depends on the clock."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "rows_per_second"} for line in lines]


def paddlenlp_bert() -> Any:
    """PaddleNLP's BERT module; the deprecations that its import runs into are its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from paddlenlp.transformers.bert import modeling
    return modeling
