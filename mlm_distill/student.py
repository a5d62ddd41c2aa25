"""The student of a masked-LM distillation: made out of its teacher, of random weights, or read from a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from console import InputError, say
from core.checkpoint import inputs_inside
from core.export import check_target
from core.layer_map import RULES
from core.masked_lm import check_head
from core.shapes import SHAPES
from data.streams import generator
from data.tokenization import WordPieceTokenizer, read_vocab
from files import new_folder, read_json
from mlm_distill.from_text import Counted
from mlm_distill.options import SIZES, InitStudentOptions, RunDistillOptions, layers_from
from models.bert import BertConfig, BertForMaskedLM, initial_weights
from models.embeddings import covariance, root
from models.folder import LoadedModel, save
from models.pretrained import pretrained_bert
from models.shrink import Weights, check_narrower, hidden_basis, shrunk
from models.weights import folder_of, layer_weights, set_weights

ARCHITECTURE = "BertForMaskedLM"
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
HEAD_BIAS = "cls.predictions.decoder.bias"
BIASED = ", answers as often as pieces occur"


def init_student(options: InitStudentOptions) -> LoadedModel:
    """Makes a student and writes its model folder.

    Raises:
        InputError: sizes or layers that cannot be had, or a folder that is in use.
    """
    target = Path(options.output_dir)
    check_target(target, "--output_dir", options.overwrite)
    if inside := inputs_inside(
        target, {name: getattr(options, name) for name in ("teacher_dir", "vocab_file", "input_file")}
    ):
        raise InputError(f"--output_dir {target}: holds {inside}, which is read; choose another folder")
    teacher = None
    if options.teacher_dir:
        name = folder_of(options.teacher_dir, "--teacher_dir")
        if options.head == "teacher":
            check_head(name, "--teacher_dir", options.cache(), options.trust_pickle, "; pass --head random")
        teacher = pretrained_bert(name, None, 3, options.seed, options.cache(), options.trust_pickle, ARCHITECTURE)
    shape = _shape(options, teacher)
    student, start = _from_teacher(options, teacher, shape) if teacher else _from_nothing(options, shape)
    with new_folder(target) as temporary:
        save(temporary, student)
    own = student.parameters - sum(p.size for p in student.model.bert.embeddings.parameters())  # type: ignore[union-attr]
    say(
        f"{target}: {shape.num_hidden_layers} layers, hidden size {shape.hidden_size}, "
        f"{student.parameters / 1e6:.1f} M parameters, {own / 1e6:.1f} M without embeddings; starts from {start}"
    )
    return student


def _shape(options: InitStudentOptions, teacher: LoadedModel | None) -> BertConfig:
    """The preset's shape, else the teacher's, with the options' own numbers in it."""
    own = {name: getattr(options, name) for name in SIZES if getattr(options, name) is not None}
    kept = layers_from(options.layers)
    if kept is not None and options.init == "teacher":
        if own.get("num_hidden_layers", len(kept)) != len(kept):
            raise InputError(f"--layers {options.layers}: {len(kept)} of them, --num_hidden_layers says another number")
        own["num_hidden_layers"] = len(kept)
    preset = SHAPES[options.preset] if options.preset else {}
    if kept is not None and preset and preset["num_hidden_layers"] != len(kept):
        raise InputError(
            f"--layers {options.layers}: {len(kept)} of them, {options.preset} has {preset['num_hidden_layers']}"
        )
    sizes = {**preset, **own}
    if teacher is not None:
        shape = dataclasses.replace(teacher.model.config, **sizes, **({"head_size": None} if sizes else {}))
    else:
        shape = BertConfig(max_position_embeddings=options.max_position_embeddings, **sizes)
    if shape.head_size is None and shape.hidden_size % shape.num_attention_heads:
        raise InputError(
            f"--num_attention_heads {shape.num_attention_heads}: must divide --hidden_size {shape.hidden_size}"
        )
    return shape


def _from_nothing(options: InitStudentOptions, shape: BertConfig) -> tuple[LoadedModel, str]:
    tokenizer = _vocabulary(options)
    shape = dataclasses.replace(shape, vocab_size=len(tokenizer.vocab))
    return _random(options, shape, tokenizer, _counted(options, tokenizer))


def _random(
    options: InitStudentOptions, shape: BertConfig, tokenizer: WordPieceTokenizer, text: Counted | None
) -> tuple[LoadedModel, str]:
    fresh = initial_weights(shape, generator(options.seed, "initialisation"), ARCHITECTURE)
    return _made(shape, fresh | _bias(text, shape), tokenizer), "random weights" + (BIASED if text else "")


def _counted(options: InitStudentOptions, tokenizer: WordPieceTokenizer) -> Counted | None:
    return Counted(options.input_file, tokenizer) if options.input_file else None


def _bias(text: Counted | None, shape: BertConfig) -> Weights:
    return {HEAD_BIAS: text.bias(shape.vocab_size)} if text else {}


def _vocabulary(options: InitStudentOptions) -> WordPieceTokenizer:
    path = Path(str(options.vocab_file))
    if not path.is_file():
        raise InputError(f"--vocab_file {path}: no such file")
    return WordPieceTokenizer(read_vocab(path), options.do_lower_case)


def other_embeddings(
    embeddings: np.ndarray, known: Sequence[str], wanted: Sequence[str], random: np.random.Generator
) -> tuple[np.ndarray, list[int]]:
    """Embeddings of another vocabulary, for layers that were trained with the first (Artetxe et al. 2020).

    Args:
        embeddings: [pieces, hidden].
        known: its pieces.
        wanted: those of the other.
        random: draws the embeddings of pieces that only the other has, spread as the known ones are: layers find
            positions in directions that words leave free.

    Returns:
        float32, [wanted pieces, hidden], and which of them have kept what they were.
    """
    drawn = random.standard_normal((len(wanted), embeddings.shape[1]))
    found = (embeddings.mean(0) + drawn @ root(covariance(embeddings))).astype(np.float32)
    numbers = {piece: number for number, piece in enumerate(known)}
    pairs = [(mine, numbers[piece]) for mine, piece in enumerate(wanted) if piece in numbers]
    shared = [mine for mine, _ in pairs]
    found[shared] = embeddings[[theirs for _, theirs in pairs]]
    return found, shared


def random_student(shape: BertConfig, tokenizer: WordPieceTokenizer, seed: int) -> LoadedModel:
    """A masked language model with random weights."""
    return _made(shape, initial_weights(shape, generator(seed, "initialisation"), ARCHITECTURE), tokenizer)


def _made(shape: BertConfig, weights: Weights, tokenizer: WordPieceTokenizer) -> LoadedModel:
    model = BertForMaskedLM(shape)
    set_weights(model, weights, "the student")
    model.eval()
    return LoadedModel(model, tokenizer, None, shape.max_position_embeddings)


def _from_teacher(options: InitStudentOptions, teacher: LoadedModel, shape: BertConfig) -> tuple[LoadedModel, str]:
    source, tokenizer = teacher.model.config, teacher.tokenizer
    assert isinstance(tokenizer, WordPieceTokenizer)
    if options.vocab_file:
        theirs, tokenizer = tokenizer.vocab, _vocabulary(options)
        shape = dataclasses.replace(shape, vocab_size=len(tokenizer.vocab))
    # What costs minutes comes last.
    kept = _layers_kept(options, source, shape) if options.init == "teacher" else []
    text = _counted(options, tokenizer)
    if options.init == "random":
        return _random(options, shape, tokenizer, text)
    known, own = layer_weights(teacher.model), ""
    if options.vocab_file:
        rng = generator(options.seed, "initialisation", "embeddings")
        # The head answers in the teacher's pieces.
        known = {name: value for name, value in known.items() if not name.startswith("cls.")}
        known[EMBEDDINGS], shared = other_embeddings(known[EMBEDDINGS], theirs, tokenizer.vocab, rng)
        own = f", {len(shared):,} of the {len(tokenizer.vocab):,} pieces of its vocabulary"
        if text is not None:
            known[EMBEDDINGS], near = text.embeddings(known[EMBEDDINGS], shared, options.seed)
            own += f" ({near:,} more begin from what stands beside them)"
    fresh = initial_weights(shape, generator(options.seed, "initialisation"), ARCHITECTURE)
    basis = hidden_basis(known, shape.hidden_size, options.hidden_init)
    pairs = tuple((theirs, mine) for mine, theirs in enumerate(kept))
    weights = shrunk(known, source, shape, pairs, basis, fresh)
    if options.head == "random":
        weights |= {name: value for name, value in fresh.items() if name.startswith("cls.")} | _bias(text, shape)
    start = f"the teacher's layers {', '.join(map(str, kept))} (from 0){own}" + (BIASED if text else "")
    if shape.hidden_size < source.hidden_size:
        start += f", {shape.hidden_size} of {source.hidden_size} hidden units ({options.hidden_init})"
    return _made(shape, weights, tokenizer), start


def _layers_kept(options: InitStudentOptions, source: BertConfig, shape: BertConfig) -> list[int]:
    """Numbers of the teacher's layers that the student takes.

    Raises:
        InputError: the teacher has too little for it.
    """
    if too_large := [
        f"{name} {getattr(shape, name)}" for name in SIZES[:2] if getattr(shape, name) > getattr(source, name)
    ]:
        raise InputError(f"{', '.join(too_large)}: more than the teacher has; use --init random")
    if options.asks("hidden_init"):
        check_narrower(options.hidden_init, shape.hidden_size, source.hidden_size)
    kept = layers_from(options.layers)
    if kept is None:
        # Rules count the states from the embeddings.
        kept = [state - 1 for state in RULES[options.layers](source.num_hidden_layers, shape.num_hidden_layers)[1:]]
    if kept[-1] >= source.num_hidden_layers:
        raise InputError(f"--layers {options.layers}: the teacher's are 0 to {source.num_hidden_layers - 1}")
    return kept


def student_of(options: RunDistillOptions, teacher: LoadedModel | None) -> LoadedModel:
    """The student that a distillation trains.

    Raises:
        InputError: it cannot be had.
    """
    if options.student_model:
        name = folder_of(options.student_model, "--student_model")
        if not options.do_train:
            check_head(name, "--student_model", options.cache(), options.trust_pickle)
        found = pretrained_bert(name, None, 3, options.seed, options.cache(), options.trust_pickle, ARCHITECTURE)
        if options.student_config and _config(options.student_config) != found.model.config:
            raise InputError(f"--student_config {options.student_config}: another shape than --student_model has")
        return dataclasses.replace(found, max_seq_length=found.model.config.max_position_embeddings)
    path = Path(str(options.student_config))
    shape = _config(path)
    if (path.parent / "vocab.txt").is_file():
        tokenizer = WordPieceTokenizer.load(path.parent)
    elif teacher is not None and isinstance(teacher.tokenizer, WordPieceTokenizer):
        tokenizer = teacher.tokenizer
    else:
        raise InputError(f"--student_config {path}: no vocab.txt beside it, and no teacher that has one")
    if len(tokenizer.vocab) > shape.vocab_size:
        raise InputError(
            f"--student_config {path}: vocab_size {shape.vocab_size:,}, the vocabulary has {len(tokenizer.vocab):,} "
            "entries"
        )
    return random_student(shape, tokenizer, options.seed)


def _config(name: str | Path) -> BertConfig:
    try:
        return BertConfig.from_dict(read_json(name))
    except FileNotFoundError:
        raise InputError(f"--student_config {name}: no such file") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"--student_config {name}: {error}") from error
