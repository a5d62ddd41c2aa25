"""The student before its training: its shape, and first weights that are the teacher's as far as these fit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from console import InputError
from core.layer_map import layer_map, layers_of
from data.streams import generator
from data.tokenization import WordPieceTokenizer
from models.bert import ARCHITECTURES, Bert, BertConfig, initial_weights
from models.folder import LoadedModel, bert_shape
from models.pretrained import pretrained_bert
from models.shrink import check_narrower, hidden_basis, shrunk
from models.weights import layer_weights, set_weights
from tinybert.options import PRESETS, TinyStudentOptions


@dataclass(frozen=True)
class Student:
    """A student that is ready to train.

    Attributes:
        loaded: the model, with the teacher's tokenizer and task.
        projection: what brings its hidden states to the teacher's width at first, [student's, teacher's]; None where
            nobody knows which direction of one is which of the other: it is to be fitted to some rows.
        start: what it starts from, for the screen.
    """

    loaded: LoadedModel
    projection: np.ndarray | None
    start: str


def student_shape(options: TinyStudentOptions, teacher: BertConfig) -> BertConfig:
    """The student's shape: a preset, or numbers in its place, with the teacher's vocabulary, positions and labels.

    Raises:
        InputError: heads do not divide the hidden size.
    """
    preset = PRESETS[options.student_model]
    own = {name: getattr(options, name) for name in preset if getattr(options, name) is not None}
    values = {**preset, **own}
    shape = dataclasses.replace(
        teacher,
        **values,
        head_size=None,
        hidden_dropout_prob=options.hidden_dropout_prob,
        attention_probs_dropout_prob=options.attention_probs_dropout_prob,
    )
    if shape.hidden_size % shape.num_attention_heads:
        raise InputError(
            f"--num_attention_heads {shape.num_attention_heads}: must divide --hidden_size {shape.hidden_size}"
        )
    return shape


def build_student(options: TinyStudentOptions, teacher: LoadedModel, seed: int, cache: Path) -> Student:
    """The student that options describe.

    Args:
        options: of the recipe.
        teacher: gives vocabulary, task and architecture, and its layers on demand.
        seed: of the run.
        cache: where a downloaded student is kept.

    Raises:
        InputError: sizes, vocabulary or layers do not go together.
    """
    source = teacher.model.config
    if options.student_model not in PRESETS:
        return _from_folder(options, teacher, seed, cache)
    shape = student_shape(options, source)
    rng = generator(seed, "initialisation")
    fresh = initial_weights(shape, rng, teacher.architecture)
    weights, projection, start = fresh, None, "random weights"
    if options.init == "teacher":
        too_large = [
            f"--{name} {getattr(shape, name)}"
            for name in ("hidden_size", "num_hidden_layers")
            if getattr(shape, name) > getattr(source, name)
        ]
        if too_large:
            raise InputError(f"{', '.join(too_large)}: larger than the teacher's, whose weights end; use --init random")
        if options.asks("hidden_init"):
            check_narrower(options.hidden_init, shape.hidden_size, source.hidden_size)
        known = layer_weights(teacher.model)
        pairs = layers_of(
            layer_map(options.init_layers, source.num_hidden_layers, shape.num_hidden_layers, "--init_layers")
        )
        if not pairs:
            raise InputError(f"--init_layers {options.init_layers}: names no layer to start from; use --init random")
        basis = hidden_basis(known, shape.hidden_size, options.hidden_init)
        weights = shrunk(known, source, shape, pairs, basis, fresh)
        start = f"layers {', '.join(str(theirs + 1) for theirs, _ in pairs)} of the teacher"
        if fresh_layers := sorted(set(range(shape.num_hidden_layers)) - {mine for _, mine in pairs}):
            start += f", random weights in its own {', '.join(str(layer + 1) for layer in fresh_layers)}"
        if shape.hidden_size < source.hidden_size:
            start += f", {shape.hidden_size} of {source.hidden_size} hidden units ({options.hidden_init})"
        projection = np.ascontiguousarray(basis.T)
    model = ARCHITECTURES[teacher.architecture](shape)  # type: ignore[call-arg]
    set_weights(model, weights, "the student")
    model.eval()
    loaded = LoadedModel(model, teacher.tokenizer, teacher.task, options.max_seq_length)
    return Student(loaded, projection, start)


def _from_folder(options: TinyStudentOptions, teacher: LoadedModel, seed: int, cache: Path) -> Student:
    """A student that has learnt before: generally distilled, or of an earlier stage."""
    name = options.student_model
    found = pretrained_bert(
        name, teacher.task, options.max_seq_length, seed, cache, options.trust_pickle, teacher.architecture
    )
    tokenizer = found.tokenizer
    assert isinstance(tokenizer, WordPieceTokenizer)
    if tokenizer.vocab != teacher.tokenizer.vocab:
        raise InputError(f"--student_model {name}: its vocabulary differs from its teacher's")
    shape = dataclasses.replace(
        found.model.config,
        hidden_dropout_prob=options.hidden_dropout_prob,
        attention_probs_dropout_prob=options.attention_probs_dropout_prob,
    )
    model: Bert = ARCHITECTURES[teacher.architecture](shape)  # type: ignore[call-arg]
    set_weights(model, layer_weights(found.model), name)
    model.eval()
    loaded = LoadedModel(model, teacher.tokenizer, teacher.task, options.max_seq_length)
    is_as_wide = shape.hidden_size == teacher.model.config.hidden_size
    return Student(loaded, np.eye(shape.hidden_size, dtype=np.float32) if is_as_wide else None, name)


def shape_in_folder(name: str) -> BertConfig | None:
    """The shape of a student that is a folder; None of a preset or of what is to be downloaded."""
    return bert_shape(name) if name not in PRESETS and Path(name).is_dir() else None
