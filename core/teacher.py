"""A frozen teacher: its outputs for a transfer set, computed once and kept on disk.

The key of a cache entry is made of the teacher's shape and weights and the token ids it reads (which follow from
vocabulary, length limit and text). Rows are deduplicated, sorted by length and run through the static graph in parts; a
part is a store of its own, so an interrupted pass goes on with the next part.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from console import ProgressBar, say
from core.static_graph import StaticGraph, save_graph
from data.augment import row_hashes
from data.ragged import Ragged
from data.store import Store, StoreDamaged, StoreWriter
from data.transfer import TransferSet
from models.folder import LoadedModel
from models.weights import layer_weights

TOKENS_PER_BATCH = 4096
PART_TOKENS = 1 << 19


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teacher said.

    Attributes:
        logits: [rows of the transfer set, labels], float32; may be memory-mapped.
        computed: rows that the teacher ran on just now; 0 when all came from the cache.
        unique: different rows among those of the transfer set.
        seconds: the pass took.
        folder: the cache entry.
    """

    logits: np.ndarray
    computed: int
    unique: int
    seconds: float
    folder: Path


def weights_checksum(loaded: LoadedModel) -> str:
    """Changes with any weight of a model."""
    digest = hashlib.sha256()
    for name, value in sorted(layer_weights(loaded.model).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def teacher_outputs(teacher: LoadedModel, transfer: TransferSet, cache: Path, device: str = "cpu") -> TeacherOutputs:
    """The teacher's logits for every row of a transfer set, from the cache where they are there.

    Args:
        teacher: in evaluation mode.
        transfer: the rows.
        cache: the cache folder.
        device: where the static graph runs.
    """
    import time

    began = time.perf_counter()
    encoded = teacher.encoder.arrange(transfer.encode(teacher.tokenizer))
    folder = cache / "teacher_outputs" / cache_key(teacher, encoded)
    try:
        store = Store(folder)
        return TeacherOutputs(
            np.asarray(store["logits"]), 0, store.metadata["unique"], time.perf_counter() - began, folder
        )
    except StoreDamaged as damage:
        if folder.exists():
            say(f"the stored teacher outputs are damaged and are computed again ({damage})")
    _, first, inverse = np.unique(row_hashes((encoded["input_ids"],)), return_index=True, return_inverse=True)
    unique = {name: column.take(first) for name, column in encoded.items()}
    logits, computed = _compute(teacher, unique, folder.with_name(folder.name + ".parts"), device)
    with StoreWriter(folder, {"kind": "teacher-outputs", "unique": len(first)}) as writer:
        writer.append(logits=logits[inverse.reshape(-1)])
    shutil.rmtree(folder.with_name(folder.name + ".parts"), ignore_errors=True)
    return TeacherOutputs(
        np.asarray(Store(folder)["logits"]), computed, len(first), time.perf_counter() - began, folder
    )


def cache_key(teacher: LoadedModel, encoded: dict[str, Ragged]) -> str:
    """Names the outputs of one teacher for one sequence of token ids."""
    digest = hashlib.sha256(weights_checksum(teacher).encode())
    # Heads, activation and epsilon change what the same weights say.
    digest.update(json.dumps(teacher.model.config_dict(), sort_keys=True).encode())
    for name, column in sorted(encoded.items()):
        column = column.compact()
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(column.values).data)
        digest.update(np.ascontiguousarray(column.offsets).data)
    return digest.hexdigest()[:32]


def _compute(teacher: LoadedModel, encoded: dict[str, Ragged], parts: Path, device: str) -> tuple[np.ndarray, int]:
    """Runs the teacher part after part; parts that an interrupted pass left are read instead."""
    lengths = encoded["input_ids"].lengths
    order = np.argsort(-lengths, kind="stable")
    logits = np.empty((len(lengths), teacher.task.outputs), np.float32)
    graph: StaticGraph | None = None
    computed = 0
    bar = ProgressBar("teacher outputs", len(lengths))
    with tempfile.TemporaryDirectory(prefix="paddledistill-graph-") as folder:
        for number, rows in enumerate(token_parts(lengths, order, PART_TOKENS)):
            path = parts / f"part-{number:05d}"
            try:
                logits[rows] = np.asarray(Store(path)["logits"])
            except StoreDamaged:
                if graph is None:
                    graph = _graph(teacher, folder, device)
                for batch in token_parts(lengths, rows, TOKENS_PER_BATCH):
                    logits[batch] = graph.run(
                        {name: c.padded(batch, _fill(teacher, name)) for name, c in encoded.items()}
                    )
                with StoreWriter(path) as writer:
                    writer.append(logits=logits[rows])
                computed += len(rows)
            bar.advance(len(rows))
    bar.close()
    return logits, computed


def _graph(teacher: LoadedModel, folder: str, device: str) -> StaticGraph:
    save_graph(teacher, folder)
    return StaticGraph(folder, device=device, shapes=1)


def _fill(teacher: LoadedModel, name: str) -> int:
    return teacher.encoder.pad_id if name == "input_ids" else 0


def token_parts(lengths: np.ndarray, order: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Cuts rows, from long to short, into runs whose padded size stays within ``budget`` tokens.

    Args:
        lengths: of all rows.
        order: row numbers by falling length.
        budget: tokens, padding included; a single row may exceed it.
    """
    start = 0
    while start < len(order):
        stop = start + max(1, budget // int(lengths[order[start]]))
        yield order[start:stop]
        start = stop
