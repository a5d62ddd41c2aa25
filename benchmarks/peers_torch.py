"""PyTorch with transformers, as sides of benchmarks.peers; runs in the environment of requirements-hf.txt.

Each function prepares a side and returns what takes one turn. The rows are those that our sides read, encoded by our
tokenizer; batches are cut by :class:`data.batches.Batches`, so that both sides meet the same ones.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import nn

from benchmarks.common import Turn
from data.batches import TOKENS_PER_BATCH, Batch, Batches, token_parts
from data.ragged import Ragged

torch.set_num_threads(len(os.sched_getaffinity(0)))
Forward = Callable[[Batch], torch.Tensor]


def _columns(place: str) -> dict[str, Any]:
    known = load_file(Path(place) / "rows.safetensors")
    ids = Ragged(known["values"], known["offsets"])
    types = Ragged(np.zeros_like(known["values"]), known["offsets"])
    return {"input_ids": ids, "token_type_ids": types, "labels": known["labels"]}


def _endless(batches: Batches) -> Iterator[Batch]:
    for epoch in count():
        yield from batches.epoch(epoch)


def _bert(place: str) -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(Path(place) / "hf")


def _precision(name: str) -> contextlib.AbstractContextManager:
    return torch.autocast("cpu", torch.bfloat16) if name == "bf16" else contextlib.nullcontext()


def _logits(model: Any, batch: Batch) -> torch.Tensor:
    ids = torch.from_numpy(batch["input_ids"])
    return model(
        input_ids=ids, attention_mask=(ids != 0).long(), token_type_ids=torch.from_numpy(batch["token_type_ids"])
    ).logits


def finetuning(place: str, batches: int, seed: int, precision: str = "fp32", by_length: bool = True) -> Turn:
    """Steps of fine-tuning: batches of 32, dropout 0.1, AdamW (fused) with clipping."""
    torch.manual_seed(seed)
    model = _bert(place)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), 6e-5, weight_decay=0.01, fused=True)
    stream = _endless(Batches(_columns(place), 32, seed=seed, by_length=by_length))

    def turn() -> dict[str, float]:
        rows = 0
        for _ in range(batches):
            batch = next(stream)
            with _precision(precision):
                loss = nn.functional.cross_entropy(_logits(model, batch).float(), torch.from_numpy(batch["labels"]))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            rows += len(batch["rows"])
        return {"rows": rows}

    return turn


def teacher(place: str, rows: int, seed: int, precision: str = "fp32", compiled: bool = False) -> Turn:
    """A pass in inference mode over a random part of the rows, sorted by length, as many tokens a batch as ours."""
    model = _bert(place)
    model.eval()
    if compiled:
        model = torch.compile(model, dynamic=True)
    columns, rng = _columns(place), np.random.default_rng(seed)
    lengths = columns["input_ids"].lengths

    def turn() -> dict[str, float]:
        part = rng.permutation(len(lengths))[:rows]
        order = part[np.argsort(-lengths[part], kind="stable")]
        with torch.inference_mode(), _precision(precision):
            for chosen in token_parts(lengths, order, TOKENS_PER_BATCH):
                batch = {name: columns[name].padded(chosen, 0) for name in ("input_ids", "token_type_ids")}
                _logits(model, batch).float().numpy()
        return {"rows": len(part)}

    return turn


class BiLSTM(nn.Module):
    """The student of the recipe: embedding, bidirectional LSTM over packed rows, tanh layer, classifier."""

    def __init__(self, vocab_size: int, embedding_size: int = 300, hidden_size: int = 300) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size, padding_idx=0)
        self.lstm = nn.LSTM(embedding_size, hidden_size, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden_size, hidden_size)
        self.output_layer = nn.Linear(hidden_size, 2)
        self.dropout = nn.Dropout(0.1)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits, [batch, 2]."""
        embedded = self.dropout(self.embedding(ids))
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        return self.output_layer(self.dropout(torch.tanh(self.fc(torch.cat([last[-2], last[-1]], -1)))))


def student(
    place: str,
    batches: int,
    seed: int,
    live_teacher: bool = False,
    precision: str = "fp32",
    by_length: bool = True,
) -> Turn:
    """Training steps of the Bi-LSTM: batches of 128, MSE on logits, Adam (fused); the teacher's are stored or live."""
    torch.manual_seed(seed)
    columns = _columns(place)
    model = BiLSTM(int(load_file(Path(place) / "rows.safetensors")["vocab_size"]))
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    live = _bert(place).eval() if live_teacher else None
    stream = _endless(Batches(columns, 128, seed=seed, by_length=by_length))

    def turn() -> dict[str, float]:
        rows = 0
        for _ in range(batches):
            batch = next(stream)
            if live is None:
                targets = torch.zeros(len(batch["rows"]), 2)
            else:
                with torch.inference_mode(), _precision(precision):
                    targets = _logits(live, batch).float()
                targets = targets.clone()
            with _precision(precision):
                said = model(torch.from_numpy(batch["input_ids"]), torch.from_numpy(batch["lengths"]))
            nn.functional.mse_loss(said.float(), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            rows += len(batch["rows"])
        return {"rows": rows}

    return turn


def serving(place: str, kind: str, form: str, rows: int, batch_size: int, threads: int) -> Turn:
    """Text in, label out: single rows or batches.

    Args:
        place: of the prepared models.
        kind: ``bert`` or ``bilstm`` (random weights: its speed does not depend on them).
        form: ``eager``, ``compiled`` or ``int8`` (dynamic, of linear layers and LSTMs).
        rows: of a turn.
        batch_size: 1 for the latency.
        threads: for matrix kernels.
    """
    from transformers import AutoTokenizer

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(Path(place) / "hf")
    texts = (Path(place) / "texts.txt").read_text(encoding="utf-8").splitlines()
    model = _bert(place) if kind == "bert" else BiLSTM(len(tokenizer))
    model.eval()
    if form == "int8":
        model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear, nn.LSTM}, torch.qint8)
    elif form == "compiled":
        model = torch.compile(model, dynamic=True)
    pads, at = kind == "bert", count()

    def answer(part: list[str]) -> list[int]:
        known = tokenizer(part, padding=True, truncation=True, max_length=128, return_tensors="pt")
        if pads:
            return model(**known).logits.argmax(-1).tolist()
        return model(known["input_ids"], known["attention_mask"].sum(-1)).argmax(-1).tolist()

    def turn() -> dict[str, float]:
        start = rows * next(at)
        part = [texts[(start + number) % len(texts)] for number in range(rows)]
        # As ours: rows of similar length share a batch.
        part.sort(key=len)
        with torch.inference_mode():
            for first in range(0, rows, batch_size):
                answer(part[first : first + batch_size])
        return {"rows": rows}

    return turn
