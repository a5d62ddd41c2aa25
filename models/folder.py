"""Model folders: what every recipe writes and every recipe, exporter and predictor reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from console import InputError
from data.streams import derived_seed
from data.tasks import Task
from data.tokenization import InputEncoder, Tokenizer, load_tokenizer
from files import read_json, write_atomically
from models import bert, bilstm
from models.weights import layer_weights, read_weights, set_weights, write_safetensors

Model = bert.Bert | bilstm.BiLSTM
OURS = "paddledistill"
LONGEST_INPUT = 1_000_000


@dataclass
class LoadedModel:
    """A model with what belongs to it.

    Attributes:
        model: the network, in evaluation mode.
        tokenizer: its tokenizer.
        task: what it was trained for, with label strings; None of an encoder or a masked language model.
        max_seq_length: the longest input it was trained with.
    """

    model: Model
    tokenizer: Tokenizer
    task: Task | None
    max_seq_length: int

    @property
    def labelled(self) -> Task:
        """The task of a model that has one.

        Raises:
            InputError: it has none.
        """
        if self.task is None:
            raise InputError(f"expected a model that was trained for a task, this is a {self.architecture}")
        return self.task

    @property
    def architecture(self) -> str:
        """What kind of model it is, as its ``config.json`` says."""
        return self.model.architecture

    @property
    def encoder(self) -> InputEncoder:
        """Lays texts out as the model reads them."""
        return InputEncoder(self.tokenizer, self.max_seq_length, self.model.layout)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(p.shape)) for p in self.model.parameters())


def save(folder: str | os.PathLike[str], loaded: LoadedModel, weights: Mapping[str, np.ndarray] | None = None) -> None:
    """Writes config, weights and tokenizer into a folder that exists or not; other files in it stay.

    Args:
        folder: receives the files.
        loaded: the model.
        weights: instead of the model's own.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    loaded.tokenizer.save(folder)
    write_safetensors(folder / "model.safetensors", layer_weights(loaded.model) if weights is None else weights)
    write_atomically(folder / "config.json", json.dumps(model_config(loaded), indent=1, ensure_ascii=False))


def model_config(loaded: LoadedModel) -> dict[str, Any]:
    """``config.json``: the network's shape, the labels as other libraries read them, and our own part."""
    ours: dict[str, Any] = {"tokenizer": loaded.tokenizer.kind, "max_seq_length": loaded.max_seq_length}
    if loaded.task is None:
        return {**loaded.model.config_dict(), OURS: ours}
    # Other libraries count the outputs by their labels: a number to predict is one label to them.
    labels = list(loaded.task.labels or ["score"])
    return {
        **loaded.model.config_dict(),
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        OURS: {"task": loaded.task.as_dict(), **ours},
    }


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """``config.json`` of a model folder.

    Raises:
        InputError: no such folder, no config, or not JSON.
    """
    path = Path(folder) / "config.json"
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such model folder")
    try:
        return read_json(path)
    except FileNotFoundError:
        begun = (Path(folder) / "training_args.json").is_file()
        why = "this run has not ended; give its command again with --resume" if begun else "so this is no model folder"
        raise InputError(f"{folder}: no config.json here, {why}") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error


def load(folder: str | os.PathLike[str]) -> LoadedModel:
    """Loads a model folder that :func:`save` wrote; nothing but the folder is needed.

    Raises:
        InputError: the folder is absent, incomplete or damaged.
    """
    if not str(folder):
        raise InputError("expected the name of a model folder, got an empty one")
    folder = Path(folder)
    config = read_config(folder)
    if OURS not in config:
        raise InputError(
            f"{folder}: this model was not trained by PaddleDistill; take it with finetune.import_classifier, or "
            "fine-tune it first with finetune.run_classifier"
        )
    try:
        ours = config[OURS]
        kind, max_seq_length = ours["tokenizer"], int(ours["max_seq_length"])
        # Encoders and masked language models have none.
        needs_task = architecture_of(config) in ("BertForSequenceClassification", "BiLSTM")
        task = Task.from_dict(ours["task"]) if needs_task or ours.get("task") is not None else None
        if not 0 < max_seq_length <= LONGEST_INPUT:
            raise ValueError(f"max_seq_length {max_seq_length:,}: expected 1 to {LONGEST_INPUT:,}")
        weights = read_weights(folder)
        model = build(config, weights, "model.safetensors")
        if task is not None and task.labels and task.outputs != model.config.num_labels:
            raise ValueError(f"{task.outputs} labels, the model has {model.config.num_labels} outputs")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{folder / 'config.json'}: {type(error).__name__}: {error}") from error
    tokenizer = load_tokenizer(folder, kind)
    if len(tokenizer.vocab) > model.config.vocab_size:
        raise InputError(
            f"{folder}: vocab.txt has {len(tokenizer.vocab):,} entries, the model only {model.config.vocab_size:,}"
        )
    set_weights(model, weights, str(folder / "model.safetensors"))
    model.eval()
    return LoadedModel(model, tokenizer, task, max_seq_length)


def architecture_of(config: Mapping[str, Any]) -> str:
    """The architecture that a ``config.json`` names; of BERTs that name none, classification.

    Raises:
        ValueError: none that can be built here.
    """
    kind = config.get("model_type")
    if kind not in ("bert", "bilstm"):
        raise ValueError(f"model_type {kind!r}: expected bert or bilstm")
    names = config.get("architectures") or []
    if kind == "bilstm":
        return "BiLSTM"
    known = [name for name in names if name in bert.ARCHITECTURES]
    if names and not known:
        raise ValueError(f"architectures {names!r}: expected one of {', '.join(bert.ARCHITECTURES)}")
    return known[0] if known else "BertForSequenceClassification"


def build(
    config: Mapping[str, Any], weights: Mapping[str, np.ndarray] | None = None, source: str = "the weights"
) -> Model:
    """A network of the shape in a ``config.json``, with arbitrary weights.

    Args:
        config: names the architecture too.
        weights: compared with the shape before anything of that shape is made, when they are known.
        source: names them in errors.

    Raises:
        ValueError: a shape or an architecture that cannot be built, or that the weights do not have.
    """
    architecture = architecture_of(config)
    if architecture == "BiLSTM":
        shape = bilstm.BiLSTMConfig.from_dict(config)
        if weights is not None:
            bilstm.check_weights(shape, weights, source)
        return bilstm.BiLSTM(shape)
    shape = bert.BertConfig.from_dict(config)
    if weights is not None:
        bert.check_weights(shape, weights, source, architecture)
    return bert.ARCHITECTURES[architecture](shape)  # type: ignore[call-arg]


def bert_shape(folder: str | os.PathLike[str]) -> bert.BertConfig:
    """The shape in a BERT's ``config.json``.

    Raises:
        InputError: no such folder, not a BERT, or a shape that cannot be built.
    """
    config = read_config(folder)
    if config.get("model_type", "bert") != "bert":
        raise InputError(f"{folder}: expected a BERT, its config.json says {config['model_type']!r}")
    try:
        return bert.BertConfig.from_dict(config)
    except (TypeError, ValueError) as error:
        raise InputError(f"{Path(folder) / 'config.json'}: {error}") from error


def check_length(
    max_seq_length: int, shape: bert.BertConfig, task: Task | None, source: str | os.PathLike[str]
) -> None:
    """Refuses inputs that are longer than a BERT's positions, or too short for its special tokens.

    Args:
        max_seq_length: the longest input.
        shape: of the BERT.
        task: whose rows it reads; None for running text.
        source: names the BERT in errors.

    Raises:
        InputError: too long or too short.
    """
    if max_seq_length > shape.max_position_embeddings:
        raise InputError(f"--max_seq_length {max_seq_length}: {source} has {shape.max_position_embeddings} positions")
    smallest = 5 if task is not None and task.is_pair else 3
    if max_seq_length < smallest:
        raise InputError(
            f"--max_seq_length {max_seq_length}: a BERT needs at least {smallest}, special tokens included"
        )


def new_bilstm(
    config: bilstm.BiLSTMConfig, tokenizer: Tokenizer, task: Task, max_seq_length: int, seed: int
) -> LoadedModel:
    """A Bi-LSTM with fresh weights that ``seed`` decides."""
    paddle.seed(derived_seed(seed, "initialisation") & 0x7FFFFFFF)
    return LoadedModel(bilstm.BiLSTM(config), tokenizer, task, max_seq_length)
