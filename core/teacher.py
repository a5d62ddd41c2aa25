"""A frozen teacher: what it says on a transfer set, computed once and kept on disk as named columns.

The key of a cache entry is made of the teacher's shape and weights, the token ids it reads (which follow from
vocabulary, length limit and text), and what is asked of it. Rows are deduplicated, sorted by length and run through the
static graph in parts; a part is a store of its own, so an interrupted pass goes on with the next part.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from console import InputError, say
from core.arithmetic import FP32
from core.distributed import current_device
from core.features import Wanted, all_entries
from core.metrics import Diverged
from core.static_graph import StaticGraph, save_graph
from data.augment import row_hashes
from data.batches import TOKENS_PER_BATCH, token_parts
from data.columns import IDS, Columns
from data.passes import in_parts, stored_or_made
from data.ragged import Ragged
from data.store import Store, StoreDamaged, StoreWriter
from data.tasks import Task
from data.transfer import TransferSet
from files import clear_leftovers, scratch_folder
from models.folder import LoadedModel, load
from models.weights import layer_weights

PART_TOKENS = 1 << 19
LOGITS = "logits"
GRAPH_NAME = "teacher"
# Features whose rows are as long as the row's tokens.
PER_TOKEN = ("hidden_states", "queries", "keys", "values", "last_hidden_state", "start_logits", "end_logits")


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teacher said.

    Attributes:
        columns: by name, of as many rows as the transfer set: ``logits`` [rows, labels], float32; per token,
            :class:`data.ragged.Ragged`. May be memory-mapped.
        computed: rows that the teacher ran on just now; 0 when all came from the cache.
        unique: different rows among those of the transfer set.
        seconds: the pass took.
        folder: the cache entry.
    """

    columns: Columns
    computed: int
    unique: int
    seconds: float
    folder: Path

    @property
    def logits(self) -> np.ndarray:
        """The column ``logits``."""
        return np.asarray(self.columns[LOGITS])


def load_teacher(folder: str, task: Task, option: str, is_bert: bool = True) -> LoadedModel:
    """A model that was trained for the task.

    Args:
        folder: its model folder.
        task: whose rows it is to label.
        option: names the folder in errors.
        is_bert: whether it has to be a BERT; for its answers alone a Bi-LSTM serves too.

    Raises:
        InputError: another kind of model, or one for other labels or another shape of rows.
    """
    teacher = load(folder)
    if is_bert and teacher.model.model_type != "bert":
        raise InputError(f"{option} {folder}: expected a BERT, this is a {teacher.model.model_type}")
    if teacher.task is None:
        raise InputError(f"{option} {folder}: expected a fine-tuned model, this is a {teacher.architecture}")
    if teacher.task.labels != task.labels:
        raise InputError(f"{option} {folder}: its labels are {teacher.task.labels}, the task's {task.labels}")
    if teacher.task.is_pair != task.is_pair:
        raise InputError(f"{option} {folder}: one of teacher and task reads pairs, the other single texts")
    return teacher


def weights_checksum(loaded: LoadedModel) -> str:
    """Changes with any weight of a model."""
    digest = hashlib.sha256()
    for name, value in sorted(layer_weights(loaded.model).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


class Teacher:
    """A model that is asked for its outputs; its static graph is made once, when it is first needed.

    Args:
        loaded: in evaluation mode.
        cache: the cache folder.
        wanted: features beside the model's outputs: those with a vector per token.
        device: where the graph runs; where Paddle computes when left out.
        precision: in which it runs, see :mod:`core.arithmetic`.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        cache: Path,
        wanted: Wanted | None = None,
        device: str | None = None,
        precision: str = FP32,
    ) -> None:
        if other := [name for name in wanted or {} if name not in PER_TOKEN]:
            raise ValueError(f"{', '.join(other)}: stored are features with a vector per token: {', '.join(PER_TOKEN)}")
        self.loaded, self._cache = loaded, cache
        self._wanted = all_entries(wanted, loaded.model.config.num_hidden_layers) if wanted else {}
        self._device, self._precision = device or current_device(), precision
        self._checksum: str | None = None
        self._graph: StaticGraph | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Teacher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes the static graph, and those that killed processes have left."""
        self._graph = None
        self._stack.close()
        clear_leftovers(self._cache / "graphs" / GRAPH_NAME)

    def outputs(self, transfer: TransferSet) -> TeacherOutputs:
        """The teacher's outputs for every row of a transfer set, from the cache where they are there."""
        return self.outputs_for(self.loaded.encoder.arrange(transfer.encode(self.loaded.tokenizer)))

    def outputs_for(self, encoded: Columns) -> TeacherOutputs:
        """The same for rows as the teacher reads them."""
        began = time.perf_counter()
        folder = self._cache / "teacher_outputs" / self._key(encoded)
        computed = 0

        def make(parts: Path) -> None:
            nonlocal computed
            _, first, inverse = np.unique(row_hashes(_ids_of(encoded)), return_index=True, return_inverse=True)
            found, computed = self._compute(encoded.take(first), parts)
            with StoreWriter(folder, {"kind": "teacher-outputs", "unique": len(first)}) as writer:
                found.take(inverse.reshape(-1)).write(writer)

        return stored_or_made(folder, "teacher outputs", lambda: self._stored(folder, began, computed), make)

    def _stored(self, folder: Path, began: float, computed: int) -> TeacherOutputs:
        store = Store(folder)
        unique = store.metadata.get("unique")
        if not isinstance(unique, int) or (LOGITS in self.loaded.model.outputs and LOGITS not in store.columns):
            raise StoreDamaged(f"{folder}: these are no teacher outputs")
        return TeacherOutputs(Columns.read(store), computed, unique, time.perf_counter() - began, folder)

    def _key(self, encoded: Mapping[str, Ragged | np.ndarray]) -> str:
        """Names the outputs for one sequence of token ids."""
        self._checksum = self._checksum or weights_checksum(self.loaded)
        digest = hashlib.sha256(self._checksum.encode())
        # Heads, activation and epsilon change what the same weights say.
        digest.update(json.dumps(self.loaded.model.config_dict(), sort_keys=True).encode())
        if self._wanted:
            digest.update(json.dumps(self._wanted).encode())
        if self._precision != FP32:
            digest.update(self._precision.encode())
        for name, column in sorted(encoded.items()):
            assert isinstance(column, Ragged)
            column = column.compact()
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(column.values).data)
            digest.update(np.ascontiguousarray(column.offsets).data)
        return digest.hexdigest()[:32]

    def _compute(self, encoded: Columns, parts: Path) -> tuple[Columns, int]:
        """Runs the teacher part after part; parts that an interrupted pass left are read instead.

        Returns:
            The outputs in the order of the rows, and how many rows were computed.
        """
        lengths = encoded.costs
        order = np.argsort(-lengths, kind="stable")
        found, computed = [], 0

        def read(path: Path, rows: np.ndarray) -> None:
            part = Columns.read(Store(path))
            if part.rows != len(rows):
                raise StoreDamaged(f"{path}: {part.rows} rows, expected {len(rows)}")
            found.append(part)

        def make(path: Path, rows: np.ndarray) -> None:
            nonlocal computed
            part = Columns.concat([self._ask(encoded, batch) for batch in token_parts(lengths, rows, TOKENS_PER_BATCH)])
            with StoreWriter(path) as writer:
                part.write(writer)
            found.append(part)
            computed += len(rows)

        in_parts(parts, "teacher outputs", token_parts(lengths, order, PART_TOKENS), len(lengths), read, make)
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return Columns.concat(found).take(back), computed

    def _ask(self, encoded: Columns, rows: np.ndarray) -> Columns:
        """The outputs for one batch."""
        if self._graph is None:
            folder = self._stack.enter_context(scratch_folder(self._cache / "graphs", GRAPH_NAME))
            names = save_graph(self.loaded, folder, self._wanted)
            self._graph = StaticGraph(folder, device=self._device, shapes=1, outputs=names, precision=self._precision)
        said = self._graph.run(encoded.padded(rows, self.loaded.encoder.pad_id))
        if bad := [name for name, value in said.items() if not np.isfinite(value).all()]:
            raise Diverged(f"the teacher's {', '.join(bad)} are not finite: its weights are worthless; train it again")
        tokens = encoded.costs[rows]
        return Columns(
            {name: _without_padding(value, tokens) if _is_per_token(name) else value for name, value in said.items()}
        )


def _ids_of(encoded: Columns) -> tuple[Ragged, ...]:
    """The columns of token ids: one, or of a pair's sides that a model reads apart two."""
    return tuple(column for name, column in sorted(encoded.items()) if name.startswith(IDS))  # type: ignore[misc]


def _is_per_token(name: str) -> bool:
    return name.partition(".")[0] in PER_TOKEN


def _without_padding(values: np.ndarray, lengths: np.ndarray) -> Ragged:
    inside = np.arange(values.shape[1]) < lengths[:, None]  # [rows, tokens]
    return Ragged.from_lengths(values[inside], lengths)


class Teachers:
    """Models whose weighted mean of logits teaches; the first is a BERT, for the others any kind serves.

    Args:
        loaded: one or more, in evaluation mode.
        weights: one for each; equal when empty.
        cache: the cache folder.
        precision: in which BERTs are computed, see :class:`Teacher`.
    """

    def __init__(
        self, loaded: Sequence[LoadedModel], weights: Sequence[float], cache: Path, precision: str = FP32
    ) -> None:
        if not loaded:
            raise ValueError("at least one teacher is required")
        given = np.asarray(weights or [1.0] * len(loaded))
        self._weights = given / given.sum()
        # A Bi-LSTM takes next to no time.
        self._teachers = [
            Teacher(each, cache, precision=precision if each.model.model_type == "bert" else FP32) for each in loaded
        ]

    def __enter__(self) -> Teachers:
        return self

    def __exit__(self, *_: object) -> None:
        for teacher in self._teachers:
            teacher.close()

    def logits(self, transfer: TransferSet, what: str) -> tuple[np.ndarray, dict[str, float]]:
        """The weighted mean for the rows of a transfer set, [rows, outputs], and what it cost.

        Args:
            transfer: the rows.
            what: names them on the screen.
        """
        mean: np.ndarray | None = None
        spent: dict[str, float] = {"computed_rows": 0, "seconds": 0.0}
        for number, (teacher, weight) in enumerate(zip(self._teachers, self._weights, strict=True)):
            outputs = teacher.outputs(transfer)
            how = f"computed in {outputs.seconds:.1f} s" if outputs.computed else "found in the cache"
            which = f" {number + 1}" if len(self._teachers) > 1 else ""
            say(f"outputs of teacher{which} for {what}: {outputs.unique:,} different rows, {how}")
            spent["computed_rows"] += outputs.computed
            spent["seconds"] += outputs.seconds
            if len(self._teachers) == 1:
                return outputs.logits, spent
            part = np.float32(weight) * outputs.logits
            mean = part if mean is None else mean + part
        assert mean is not None
        return mean, spent
