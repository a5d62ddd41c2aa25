"""The sides of the speed comparisons. Each function prepares a side and returns what takes one turn.

The *stock* sides work as the published recipes do: PaddleNLP's BERT in dygraph, batches in random order padded to
their longest row, the teacher run again at every step. They live here and not in the product.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from benchmarks.common import Turn, matrix_rate
from console import InputError
from core.arithmetic import FP32
from core.classifier import distillation_step, label_step
from core.losses import distillation_losses
from core.metrics import Selection
from core.optim import make_optimizer
from core.static_graph import StaticGraph, save_graph
from core.train import LoopSettings, Step, Updater
from data.augment import Augmentation
from data.batches import TOKENS_PER_BATCH, Batch, Batches, token_parts
from data.columns import token_ids
from data.sources import find_split, read_rows
from data.tasks import get_task
from data.tokenization import InputEncoder, WordPieceTokenizer
from data.transfer import build_transfer_set, load_transfer_set
from files import cache_folder
from models.bilstm import BiLSTM, BiLSTMConfig
from models.dropout import STREAM
from models.folder import LoadedModel, load
from models.occurring import occurring_rows
from models.pretrained import bundled_folder, pretrained_bert
from ofa_bert.options import OfaOptions
from ofa_bert.shapes import make_shapes
from ofa_bert.steps import Draw, width_step
from ofa_bert.supernet import elastic

MAX_TOKENS = 128
FINE_TUNING = {"learning_rate": 6e-5, "weight_decay": 0.01, "max_grad_norm": 1.0}


def prepare(data_dir: str, work: Path, n_iter: int = 20) -> tuple[str, str]:
    """The fine-tuned teacher of ``benchmarks.sst2`` and a transfer set of its training rows.

    Raises:
        InputError: the teacher has not been trained yet.
    """
    teacher_dir = work / "sst-2" / "teacher"
    if not (teacher_dir / "metrics.json").is_file():
        raise InputError(f"no fine-tuned teacher in {work}: run python -m benchmarks.sst2 first")
    rows, _ = _sst2(data_dir)
    folder = work / "sst-2" / f"transfer-{n_iter}"
    build_transfer_set(rows, load(teacher_dir).tokenizer, Augmentation(n_iter=n_iter), 0, folder, whole_words=False)
    return str(teacher_dir), str(folder)


def bert_flops(config: Any, tokens: float, squared_tokens: float) -> float:
    """Multiplications and additions of a BERT's matrix products in one forward pass.

    Args:
        config: its shape.
        tokens: of all rows.
        squared_tokens: the rows' lengths squared, added up.
    """
    inner = config.num_attention_heads * config.head_dim
    weights = config.hidden_size * (4 * inner + 2 * config.intermediate_size)
    return config.num_hidden_layers * 2.0 * (weights * tokens + 2 * inner * squared_tokens)


def lstm_flops(config: BiLSTMConfig, tokens: float) -> float:
    """Multiplications and additions of a one-layer Bi-LSTM's matrix products in one forward pass."""
    return 2.0 * 2 * 4 * config.hidden_size * (config.hidden_size + config.embedding_size) * tokens


def _endless(batches: Batches) -> Iterator[Batch]:
    for epoch in count():
        yield from batches.epoch(epoch)


def _sst2(data_dir: str) -> tuple[Any, Any]:
    return read_rows(find_split(data_dir, "train"), get_task("sst-2"))


def _encoded(data_dir: str) -> tuple[dict[str, Any], WordPieceTokenizer]:
    rows, _ = _sst2(data_dir)
    tokenizer = WordPieceTokenizer.load(bundled_folder())
    return InputEncoder(tokenizer, MAX_TOKENS, "bert").encode(rows.texts).with_(labels=rows.labels), tokenizer


def _our_turn(model: Any, step: Step, stream: Iterator[Batch], batches: int, optimizer: str, **more: Any) -> Turn:
    """Steps as the product takes them: everything that :class:`core.train.Loop` does between two evaluations."""
    rate = more.pop("learning_rate")
    settings = LoopSettings(epochs=1, learning_rate=rate, optimizer=optimizer, select_by=Selection("accuracy"), **more)
    updater, numbers = Updater(model, step, settings, total_steps=1 << 20), count()
    model.train()

    def turn() -> dict[str, float]:
        rows = tokens = 0
        for _ in range(batches):
            batch = next(stream)
            updater.update([batch], next(numbers))
            rows += len(batch["rows"])
            tokens += int(batch["lengths"].sum())
        return {"rows": rows, "tokens": tokens}

    return turn


def stock_finetuning(data_dir: str, batches: int, seed: int, by_length: bool = False) -> Turn:
    """PaddleNLP's BERT, random batches of 32 (or those of :func:`our_finetuning`), dropout 0.1, AdamW with clipping."""
    columns, _ = _encoded(data_dir)
    model = _paddlenlp_bert(None)
    optimizer = paddle.optimizer.AdamW(
        6e-5, parameters=model.parameters(), weight_decay=0.01, grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0)
    )
    stream = _endless(Batches(columns, 32, by_length=by_length, seed=seed))
    model.train()

    def turn() -> dict[str, float]:
        rows = 0
        for _ in range(batches):
            batch = next(stream)
            logits = _logits(model, batch)
            paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(batch["labels"])).backward()
            optimizer.step()
            optimizer.clear_grad()
            rows += len(batch["rows"])
        return {"rows": rows}

    return turn


def our_finetuning(data_dir: str, batches: int, seed: int, precision: str = FP32) -> Turn:
    """The same training as ``finetune.run_classifier`` does it."""
    _, task = _sst2(data_dir)
    columns, _ = _encoded(data_dir)
    model = pretrained_bert("all-MiniLM-L6-v2", task, MAX_TOKENS, seed, cache_folder()).model
    stream = _endless(Batches(columns, 32, seed=seed))
    stack = contextlib.ExitStack()
    stack.enter_context(occurring_rows(model, token_ids(model.config.vocab_size, columns)))
    turn = _our_turn(model, label_step(model), stream, batches, "adamw", **FINE_TUNING, seed=seed, precision=precision)

    def kept(stack: contextlib.ExitStack = stack) -> Mapping[str, float]:
        # The turn holds on to the stack, or the embedding would be made whole again.
        return turn()

    return kept


def _paddlenlp_bert(teacher_dir: str | None) -> Any:
    """PaddleNLP's own network with the bundled weights, or with those of a fine-tuned model folder."""
    from paddlenlp.transformers import BertConfig, BertForSequenceClassification

    from models.weights import layer_weights

    loaded = (
        load(teacher_dir)
        if teacher_dir
        else pretrained_bert("all-MiniLM-L6-v2", get_task("sst-2"), MAX_TOKENS, 0, cache_folder())
    )
    shape = {
        k: v for k, v in loaded.model.config_dict().items() if k not in ("architectures", "model_type", "num_labels")
    }
    model = BertForSequenceClassification(BertConfig(**shape, num_labels=2))
    model.set_state_dict({k: paddle.to_tensor(v) for k, v in layer_weights(loaded.model).items()})
    return model


def _logits(model: Any, batch: Mapping[str, np.ndarray]) -> paddle.Tensor:
    out = model(paddle.to_tensor(batch["input_ids"]), paddle.to_tensor(batch["token_type_ids"]))
    return out[0] if isinstance(out, (tuple, list)) else out


def ofa_training(data_dir: str, batches: int, seed: int) -> Turn:
    """The width stage of ``ofa_bert.run_glue_ofa``: the teacher once, then four widths, on the same batches."""
    _, task = _sst2(data_dir)
    columns, _ = _encoded(data_dir)
    teacher = pretrained_bert("all-MiniLM-L6-v2", task, MAX_TOKENS, seed, cache_folder())
    teacher.model.eval()
    network = elastic(teacher).model
    shapes = make_shapes(vars(teacher.model.config), OfaOptions.width_mult_list, (1.0,))
    step = width_step(network, teacher.model, Draw(shapes), (OfaOptions.lambda_logit, OfaOptions.lambda_rep))
    stream = _endless(Batches(columns, 32, seed=seed))
    return _our_turn(network, step, stream, batches, "adamw", **FINE_TUNING, seed=seed)


def stock_teacher(teacher_dir: str, transfer_dir: str, batches: int, seed: int) -> Turn:
    """A teacher in dygraph over random batches of 128, padded to their longest row."""
    model = _paddlenlp_bert(teacher_dir)
    model.eval()
    stream = _endless(Batches(_teacher_view(load(teacher_dir), transfer_dir), 128, by_length=False, seed=seed))

    def turn() -> dict[str, float]:
        rows = 0
        with paddle.no_grad():
            for _ in range(batches):
                batch = next(stream)
                _logits(model, batch).numpy()
                rows += len(batch["rows"])
        return {"rows": rows}

    return turn


def our_teacher(teacher_dir: str, transfer_dir: str, rows: int, seed: int, precision: str = FP32) -> Turn:
    """The exported graph over rows sorted by length, as ``core.teacher`` does it; a turn takes a random part."""
    import tempfile

    teacher = load(teacher_dir)
    columns = _teacher_view(teacher, transfer_dir)
    folder = tempfile.mkdtemp(prefix="paddledistill-bench-")
    save_graph(teacher, folder)
    graph, rng = StaticGraph(folder, precision=precision), np.random.default_rng(seed)
    lengths = columns["input_ids"].lengths

    def turn() -> dict[str, float]:
        part = rng.permutation(len(lengths))[:rows]
        order = part[np.argsort(-lengths[part], kind="stable")]
        for batch in token_parts(lengths, order, TOKENS_PER_BATCH):
            graph.run({name: column.padded(batch, 0) for name, column in columns.items()})
        done = lengths[part].astype(float)
        return {"rows": len(part), "flops": bert_flops(teacher.model.config, done.sum(), (done**2).sum())}

    return turn


def _teacher_view(teacher: LoadedModel, transfer_dir: str) -> dict[str, Any]:
    transfer = load_transfer_set(transfer_dir)
    return teacher.encoder.arrange(transfer.encode(teacher.tokenizer))


def matrix_product() -> Turn:
    """The machine's rate: square float32 products."""

    def turn() -> dict[str, float]:
        # The rate is timed inside; the worker divides by its own seconds, so they are given back as an amount.
        import time

        began = time.perf_counter()
        rate = matrix_rate(turns=5)
        return {"rows": 0, "flops": rate * 1e9 * (time.perf_counter() - began)}

    return turn


def student_steps(
    teacher_dir: str,
    transfer_dir: str,
    batches: int,
    seed: int,
    batch_size: int = 128,
    live_teacher: bool = False,
    embedding_size: int = 300,
    optimizer_name: str = "adam",
) -> Turn:
    """Training steps of the student on a transfer set.

    Args:
        teacher_dir: the fine-tuned teacher.
        transfer_dir: the rows.
        batches: of a turn.
        seed: of the order.
        batch_size: rows.
        live_teacher: the published schedule: random order, and PaddleNLP's teacher in dygraph at every step.
        embedding_size: width.
        optimizer_name: see :data:`core.optim.OPTIMIZERS`.
    """
    transfer = load_transfer_set(transfer_dir)
    teacher = load(teacher_dir)
    tokenizer = teacher.tokenizer
    config = BiLSTMConfig(len(tokenizer.vocab), embedding_size)
    student = BiLSTM(config)
    columns = InputEncoder(tokenizer, MAX_TOKENS, "plain").arrange(transfer.encode(tokenizer))
    if live_teacher:
        view = teacher.encoder.arrange(transfer.encode(tokenizer))
        stream = _endless(Batches(columns, batch_size, by_length=False, seed=seed))
        turn = _published_turn(student, _paddlenlp_bert(teacher_dir), view, stream, batches, optimizer_name)
        stack = contextlib.ExitStack()
    else:
        # Ours trains the rows of the embedding that occur, as the recipe does; the turn holds on to the stack, or the
        # embedding would be made whole again.
        stack = contextlib.ExitStack()
        stack.enter_context(occurring_rows(student, np.unique(columns["input_ids"].values)))
        known = columns.with_(teacher_logits=np.zeros((len(transfer), 2), np.float32), labels=transfer.labels)
        stream = _endless(Batches(known, batch_size, seed=seed))
        step = distillation_step(student)
        turn = _our_turn(student, step, stream, batches, optimizer_name, learning_rate=1e-3, seed=seed)

    def counted(stack: contextlib.ExitStack = stack) -> dict[str, float]:
        done = turn()
        return {"rows": done["rows"], "flops": 3 * lstm_flops(config, done["tokens"])}

    return counted


def _published_turn(
    student: BiLSTM, live: Any, view: Any, stream: Iterator[Batch], batches: int, optimizer_name: str
) -> Turn:
    """Steps as published: the teacher in dygraph at every one."""
    optimizer = make_optimizer(optimizer_name, student)
    optimizer.set_lr(1e-3)
    live.eval()
    student.train()

    def turn() -> dict[str, float]:
        rows = tokens = 0
        for number in range(batches):
            batch = next(stream)
            STREAM.reseed(number)
            inputs = {name: column.padded(batch["rows"], 0) for name, column in view.items()}
            with paddle.no_grad():
                targets = _logits(live, inputs)
            distillation_losses(student.from_batch(batch), targets, None)["loss"].backward()
            optimizer.step()
            optimizer.clear_grad()
            rows += len(batch["rows"])
            tokens += int(batch["lengths"].sum())
        return {"rows": rows, "tokens": tokens}

    return turn
