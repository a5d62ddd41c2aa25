"""The sides of TinyBERT's speed comparisons; as in :mod:`benchmarks.sides`, the *stock* ones work as published."""

from __future__ import annotations

import contextlib
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from benchmarks.common import Turn
from benchmarks.sides import _endless, _our_turn
from core.layer_loss import LayerLoss, LayerStep, Projections
from core.teacher_features import TeacherFeatures
from data.batches import Batches
from data.raw_text import raw_text_store, text_files
from data.replacement import word_rows
from data.sources import find_split, read_rows
from data.tasks import get_task
from data.tokenization import MASK, WordPieceTokenizer
from files import cache_folder, size_in_bytes
from models.bert import ARCHITECTURES, BertConfig, initial_weights
from models.folder import LoadedModel
from models.pretrained import bundled_folder, pretrained_bert
from models.weights import layer_weights, set_weights
from tinybert import candidates as room
from tinybert.options import GeneralDistillOptions
from tinybert.student import build_student

SHAPE = {"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200, "num_attention_heads": 12}
LENGTH = 128
OPTIMIZER = {"learning_rate": 1e-4, "weight_decay": 0.01, "max_grad_norm": 1.0}


def _kept_open(context: Any) -> Any:
    """A context that lasts as long as the process."""
    stack = contextlib.ExitStack()
    _OPEN.append(stack)
    return stack.enter_context(context)


_OPEN: list[contextlib.ExitStack] = []


def _pieces(text_dir: str, dropout: float) -> tuple[LoadedModel, Any, LayerLoss, Any]:
    """Teacher, student, losses and sequences of general distillation."""
    cache = cache_folder()
    options = GeneralDistillOptions(
        text=(text_dir,),
        output_dir="unused",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **SHAPE,
    )
    teacher = pretrained_bert(options.teacher_model, None, LENGTH, 0, cache, architecture="BertModel")
    teacher.model.eval()
    student = build_student(options, teacher, 0, cache)
    loss = LayerLoss.of(options, teacher.model.config, student.loaded.model.config)
    rows, _ = raw_text_store(text_files([text_dir]), student.loaded.encoder, cache, 0.01, 0)
    return teacher, student, loss, rows


def our_general_step(text_dir: str, batches: int, seed: int, cache_budget: str = "0", rows: int = 0) -> Turn:
    """Steps of ``tinybert.general_distill``: student in dygraph, teacher by the fused static graph or from the disk."""
    teacher, student, loss, text = _pieces(text_dir, 0.0)
    if rows:
        text = text.slice(0, rows)
    features = _kept_open(TeacherFeatures(teacher, cache_folder(), loss.wanted(0)))
    projections = Projections(student.projection, [s for _, s in loss.pairs])
    step = LayerStep(student.loaded.model, features, loss, projections)
    columns = features.columns(text, size_in_bytes(cache_budget))
    stream = _endless(Batches(columns, 32, student.loaded.encoder.pad_id, seed=seed))
    both = paddle.nn.LayerList([student.loaded.model, projections])
    return _our_turn(both, step, stream, batches, "adamw", **OPTIMIZER)


def stock_general_step(text_dir: str, batches: int, seed: int) -> Turn:
    """PaddleNLP's teacher and student in dygraph, random batches, scores and states by their own forward, MSE.

    Attention scores are taken from the projections by hooks: PaddleNLP's BERT gives attention after the softmax only.
    """
    import paddlenlp.transformers.bert.modeling as modeling
    from paddlenlp.transformers import BertConfig as NlpConfig

    teacher, student, loss, text = _pieces(text_dir, 0.1)

    def stock(loaded: LoadedModel) -> Any:
        shape = {k: v for k, v in loaded.model.config_dict().items() if k not in ("architectures", "model_type")}
        model = modeling.BertModel(NlpConfig(**shape))
        model.set_state_dict({name: paddle.to_tensor(value) for name, value in layer_weights(loaded.model).items()})
        return model

    learns, teaches = stock(student.loaded), stock(teacher)
    projection = paddle.nn.Linear(SHAPE["hidden_size"], teacher.model.config.hidden_size)
    optimizer = paddle.optimizer.AdamW(
        1e-4,
        parameters=[*learns.parameters(), *projection.parameters()],
        weight_decay=0.01,
        grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
    )
    caught: dict[str, list[Any]] = {}
    for who, model in (("student", learns), ("teacher", teaches)):
        for layer in model.encoder.layers:
            for name in ("q_proj", "k_proj"):
                getattr(layer.self_attn, name).register_forward_post_hook(
                    lambda _layer, _inputs, output, key=f"{who}.{name}": caught.setdefault(key, []).append(output)
                )

    def scores(who: str, heads: int) -> list[Any]:
        found = []
        for query, key in zip(caught[f"{who}.q_proj"], caught[f"{who}.k_proj"], strict=True):
            width = query.shape[-1] // heads
            q, k = (side.reshape([0, 0, heads, width]).transpose([0, 2, 1, 3]) for side in (query, key))
            found.append(paddle.matmul(q, k, transpose_y=True) * width**-0.5)
        return found

    stream = _endless(Batches(text, 32, student.loaded.encoder.pad_id, by_length=False, seed=seed))
    learns.train()
    teaches.eval()

    def turn() -> dict[str, float]:
        tokens = rows = 0
        for _ in range(batches):
            batch = next(stream)
            ids, types = paddle.to_tensor(batch["input_ids"]), paddle.to_tensor(batch["token_type_ids"])
            caught.clear()
            with paddle.no_grad():
                theirs = teaches(ids, types, output_hidden_states=True, return_dict=True).hidden_states
                their_scores = scores("teacher", 12)
            mine = learns(ids, types, output_hidden_states=True, return_dict=True).hidden_states
            my_scores = scores("student", 12)
            mse = paddle.nn.functional.mse_loss
            total = paddle.zeros([])
            for t, s in loss.pairs:
                total = total + mse(projection(mine[s]), theirs[t])
                if s:
                    total = total + mse(my_scores[s - 1], their_scores[t - 1])
            total.backward()
            optimizer.step()
            optimizer.clear_grad()
            tokens += int(batch["lengths"].sum())
            rows += len(batch["rows"])
        return {"rows": rows, "tokens": tokens}

    return turn


# Augmentation


def _masked_lm() -> LoadedModel:
    """The bundled encoder with a masked-LM head of random weights: what it costs to ask does not depend on them."""
    tokenizer = WordPieceTokenizer.load(bundled_folder())
    encoder = pretrained_bert("all-MiniLM-L6-v2", None, LENGTH, 0, cache_folder(), architecture="BertForMaskedLM")
    config: BertConfig = encoder.model.config
    model = ARCHITECTURES["BertForMaskedLM"](config)  # type: ignore[call-arg]
    set_weights(model, initial_weights(config, np.random.default_rng(0), "BertForMaskedLM"), "random weights")
    set_weights(model, layer_weights(encoder.model), "the bundled encoder")
    model.eval()
    return LoadedModel(model, tokenizer, None, LENGTH)


def _drawn(data_dir: str, rows: int, seed: int) -> list[str]:
    texts = read_rows(find_split(data_dir, "train"), get_task("sst-2"))[0].texts[0]
    return [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))[:rows]]


def our_candidates(data_dir: str, rows: int, seed: int, count_of: int = 15) -> Turn:
    """Candidates of all words of rows, as ``tinybert.data_augmentation`` asks a masked language model."""
    model, numbers = _masked_lm(), count()

    def turn() -> dict[str, float]:
        texts = _drawn(data_dir, rows, seed + next(numbers))
        words = word_rows([texts], model.tokenizer)  # type: ignore[arg-type]
        with tempfile.TemporaryDirectory() as place:
            start = room.candidates_by_word(words, {}, count_of)
            room.with_masked_lm(words, *start, model, count_of, Path(place), Path(place) / "parts")
        return {"rows": rows}

    return turn


def published_candidates(data_dir: str, rows: int, seed: int, count_of: int = 15) -> Turn:
    """The same words one at a time as published: PaddleNLP's BERT in dygraph, all logits of all tokens."""
    import paddlenlp.transformers.bert.modeling as modeling
    from paddlenlp.transformers import BertConfig as NlpConfig

    model, numbers = _masked_lm(), count()
    shape = {k: v for k, v in model.model.config_dict().items() if k not in ("architectures", "model_type")}
    stock = modeling.BertForMaskedLM(NlpConfig(**shape))
    stock.set_state_dict({name: paddle.to_tensor(value) for name, value in layer_weights(model.model).items()})
    stock.eval()
    vocab = model.tokenizer.vocab
    cls, sep, mask = (vocab.index(token) for token in ("[CLS]", "[SEP]", MASK))

    def turn() -> dict[str, float]:
        texts = _drawn(data_dir, rows, seed + next(numbers))
        words = word_rows([texts], model.tokenizer)  # type: ignore[arg-type]
        asked = words.replaceable() & (words.pieces.lengths == 1)
        for row in range(rows):
            ids = words.columns[0][row]
            pieces = [words.pieces[i].tolist() for i in ids]
            flat = [piece for word in pieces for piece in word]
            at = 1
            for word, own in zip(ids, pieces, strict=True):
                if asked[word]:
                    sentence = [cls, *flat, sep, *flat, sep]
                    sentence[at] = mask
                    types = [0] * (len(flat) + 2) + [1] * (len(flat) + 1)
                    with paddle.no_grad():
                        logits = stock(paddle.to_tensor([sentence]), paddle.to_tensor([types]))
                        logits = logits[0] if isinstance(logits, tuple) else logits
                    best = paddle.argsort(logits[0, at], descending=True)[:count_of].tolist()
                    assert len(best) == count_of
                at += len(own)
        return {"rows": rows}

    return turn
