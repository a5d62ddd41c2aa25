"""The student before its training: tokenizer, shape, first weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from console import InputError, say
from data.download import Silent, patiently
from data.sources import TaskData
from data.tokenization import SPECIAL_TOKENS, JiebaTokenizer, Tokenizer, WordPieceTokenizer, read_vocab
from data.vectors import read_vectors
from distill_lstm.options import StudentOptions
from models.bert import BertForSequenceClassification
from models.bilstm import BiLSTMConfig, embeddings_from_teacher
from models.folder import LoadedModel, load, new_bilstm
from models.pretrained import resolve_pretrained
from models.weights import layer_weights, set_weights


def build_student(options: StudentOptions, data: TaskData, teacher: LoadedModel | None) -> LoadedModel:
    """A Bi-LSTM as the options describe it, ready to train.

    Args:
        options: of the recipe.
        data: gives labels, language, and the words of a Chinese vocabulary.
        teacher: gives the vocabulary and, on demand, the embeddings; None when there is none.

    Raises:
        InputError: options, vocabulary and teacher do not fit together.
    """
    options.check_task(data.task)
    tokenizer = student_tokenizer(options, data, teacher)
    config = BiLSTMConfig(
        vocab_size=_vocab_size(options, tokenizer),
        embedding_size=options.embedding_size,
        hidden_size=options.hidden_size,
        num_layers=options.num_layers,
        dropout_prob=options.dropout_prob,
        num_labels=data.task.outputs,
        is_pair=data.task.is_pair,
        pair_features=options.pair_features,
        pooling=options.pooling,
        pair_alignment=options.pair_alignment,
        pad_token_id=tokenizer.token_id("[PAD]"),
    )
    student = new_bilstm(config, tokenizer, data.task, options.max_seq_length, options.seed)
    if options.embedding_init == "teacher":
        assert teacher is not None, "checked with the options"
        _set_embedding(student, _teacher_embeddings(options, teacher, tokenizer, config))
    elif options.embedding_name:
        _set_embedding(student, named_embeddings(options.embedding_name, student))
    elif options.embedding_path:
        _set_embedding(student, _embeddings_from_file(options.embedding_path, student))
    if options.init_from_ckpt:
        start = load(options.init_from_ckpt)
        if start.tokenizer.vocab != tokenizer.vocab:
            raise InputError(f"--init_from_ckpt {options.init_from_ckpt}: its vocabulary differs from this student's")
        if getattr(start.model.config, "pair_alignment", False) != config.pair_alignment:
            raise InputError(
                f"--init_from_ckpt {options.init_from_ckpt}: with --pair_alignment {not config.pair_alignment}, this "
                f"student has {config.pair_alignment}"
            )
        set_weights(student.model, layer_weights(start.model), f"--init_from_ckpt {options.init_from_ckpt}")
    return student


def student_tokenizer(options: StudentOptions, data: TaskData, teacher: LoadedModel | None) -> Tokenizer:
    """English students read the teacher's word pieces, Chinese students jieba's words."""
    if data.task.language == "zh":
        if options.vocab_path:
            return JiebaTokenizer(_word_vocabulary(Path(options.vocab_path), data, options.vocab_size))
        texts = (text for column in data.train.texts for text in column)
        return JiebaTokenizer.from_texts(texts, options.vocab_size or 1 << 30, options.vocab_min_count)
    if options.vocab_path:
        return WordPieceTokenizer(read_vocab(Path(options.vocab_path)))
    if teacher is not None and isinstance(teacher.tokenizer, WordPieceTokenizer):
        return teacher.tokenizer
    return WordPieceTokenizer.load(resolve_pretrained(options.model_name, options.cache()))


def _word_vocabulary(path: Path, data: TaskData, size: int) -> Sequence[str]:
    """The words of a published dictionary that occur in the training rows; 1.26 M rows of embeddings serve nobody."""
    given = set(read_vocab(path, unique=False))
    found = JiebaTokenizer.from_texts((t for column in data.train.texts for t in column), size or 1 << 30, min_count=1)
    kept = [word for word in found.vocab[3:] if word in given]
    if not kept:
        raise InputError(f"--vocab_path {path}: none of its {len(given):,} words occurs in the training rows")
    return [*found.vocab[:3], *kept]


def _vocab_size(options: StudentOptions, tokenizer: Tokenizer) -> int:
    if tokenizer.kind == "jieba" or not options.vocab_size:
        return len(tokenizer.vocab)
    if options.vocab_size < len(tokenizer.vocab):
        raise InputError(
            f"--vocab_size {options.vocab_size}: the vocabulary has {len(tokenizer.vocab):,} pieces; leave it out"
        )
    return options.vocab_size


def _teacher_embeddings(
    options: StudentOptions, teacher: LoadedModel, tokenizer: Tokenizer, config: BiLSTMConfig
) -> np.ndarray:
    if tokenizer.vocab != teacher.tokenizer.vocab or not isinstance(teacher.model, BertForSequenceClassification):
        raise InputError("--embedding_init teacher: the student must share the vocabulary of a BERT teacher")
    rows = teacher.model.bert.embeddings.word_embeddings.weight.numpy()
    if config.embedding_size > rows.shape[1]:
        raise InputError(f"--embedding_size {config.embedding_size}: the teacher's embeddings are {rows.shape[1]} wide")
    made = embeddings_from_teacher(
        rows[: len(tokenizer.vocab)], config.embedding_size, options.embedding_std, config.pad_token_id
    )
    spare = config.vocab_size - len(made)
    return np.concatenate([made, np.zeros((spare, made.shape[1]), np.float32)])


def named_embeddings(name: str, student: LoadedModel) -> np.ndarray:
    """The student's embeddings with vectors that PaddleNLP downloads in the places of the words that it knows.

    Raises:
        InputError: no such vectors, no way to them, or another width than the student's.
    """
    try:
        vectors = patiently(lambda: _token_embedding(name), f"--embedding_name {name}")
    except Silent:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"--embedding_name {name}: PaddleNLP could not load it ({reason})") from error
    # What PaddleNLP has for special tokens is random, and not from our seed.
    known = [word for word in student.tokenizer.vocab if word in vectors.vocab and word not in SPECIAL_TOKENS]
    found = dict(zip(known, vectors.search(known), strict=True)) if known else {}
    return _with_vectors(student, found, vectors.embedding_dim, f"--embedding_name {name}")


def _token_embedding(name: str) -> Any:
    from paddlenlp.embeddings import TokenEmbedding

    return TokenEmbedding(embedding_name=name)


def _embeddings_from_file(path: str, student: LoadedModel) -> np.ndarray:
    found, width = read_vectors(path, student.tokenizer.vocab)
    return _with_vectors(student, found, width, f"--embedding_path {path}")


def _with_vectors(student: LoadedModel, found: Mapping[str, np.ndarray], width: int, what: str) -> np.ndarray:
    """The student's fresh embeddings with those of the known words in their places."""
    weights = student.model.embedding.weight.numpy()
    if not found or width != weights.shape[1]:
        raise InputError(
            f"{what}: vectors of width {width} for {len(found):,} of the vocabulary; "
            f"--embedding_size is {weights.shape[1]}"
        )
    for i, word in enumerate(student.tokenizer.vocab):
        if word in found:
            weights[i] = found[word]
    say(f"{what}: covers {len(found) / len(student.tokenizer.vocab):.0%} of the vocabulary")
    return weights


def _set_embedding(student: LoadedModel, rows: np.ndarray) -> None:
    student.model.embedding.weight.set_value(rows)
