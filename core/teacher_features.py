"""A teacher's features for every batch of a training: from the disk where a budget allows that, else asked each time.

Hidden states and attention scores take far more room than logits: of 12 heads and four layers some 5 kB a token.
Stored they are half-precision numbers, memory-mapped, in the order in which the teacher computed them, from long rows
to short; the rows to learn from are put into that order too, so that nothing has to be moved. What does not fit is
computed by the same static graph when its batch comes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle

from console import InputError, say
from core.arithmetic import FP32
from core.distributed import World, current_device, main_first
from core.features import Wanted, all_entries, feature_names
from core.metrics import Diverged
from core.static_graph import StaticGraph, save_graph
from core.teacher import GRAPH_NAME, weights_checksum
from data.batches import TOKENS_PER_BATCH, Batch, token_parts
from data.columns import Columns
from data.passes import in_parts, stored_or_made
from data.ragged import Ragged
from data.store import Store, StoreDamaged, StoreWriter
from files import clear_leftovers, scratch_folder
from models.folder import LoadedModel

# Widths that the graph is asked for: what oneDNN prepares for a width it keeps.
WIDTH_STEP = 8
# Rows' own pairs of tokens, one row after the other, instead of one entry a token.
SQUARES = "attention_scores"
PART_BYTES = 256 << 20


class TeacherFeatures:
    """What a teacher says inside, by names such as ``hidden_states.3``.

    Args:
        loaded: the teacher, in evaluation mode.
        cache: the cache folder.
        wanted: features and their entries.
        device: where the graph runs; where Paddle computes when left out.
        precision: in which it runs, see :mod:`core.arithmetic`.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        cache: Path,
        wanted: Wanted,
        device: str | None = None,
        precision: str = FP32,
    ) -> None:
        self.loaded, self._cache = loaded, cache
        self.wanted = all_entries(wanted, loaded.model.config.num_hidden_layers)
        self.names = feature_names(self.wanted)
        self._device, self._precision = device or current_device(), precision
        self._graph: StaticGraph | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> TeacherFeatures:
        return self

    def __exit__(self, *_: object) -> None:
        self._graph = None
        self._stack.close()
        clear_leftovers(self._cache / "graphs" / GRAPH_NAME)

    def bytes_for(self, encoded: Columns) -> int:
        """How much room the features of encoded rows take on the disk."""
        config, lengths = self.loaded.model.config, encoded.costs.astype(np.int64)
        inner = config.num_attention_heads * config.head_dim
        squares = len(self.wanted.get(SQUARES, ())) * config.num_attention_heads
        widths = {"hidden_states": config.hidden_size}
        vectors = sum(
            len(entries) * widths.get(name, inner) for name, entries in self.wanted.items() if name != SQUARES
        )
        return 2 * int((lengths * vectors + lengths**2 * squares).sum())

    def columns(self, encoded: Columns, budget: int, world: World | None = None) -> Columns:
        """Rows to learn from, with their features where these fit.

        Args:
            encoded: rows as the teacher reads them, and whatever else a step needs.
            budget: bytes on the disk.
            world: the processes of the run; one of them computes.

        Returns:
            The rows from long to short, with a column per feature where these are kept; otherwise :meth:`of` computes
            them batch by batch.

        Raises:
            InputError: the budget allows what the disk does not.
        """
        needed = self.bytes_for(encoded)
        world = world or World()
        fits = needed <= budget
        # One order in both cases: what a batch holds does not depend on where its features come from.
        ordered = encoded.take(_long_to_short(encoded))
        if world.is_main:
            say(
                f"teacher's features: {needed / 1e9:.1f} GB for {encoded.rows:,} rows, "
                + ("kept on the disk" if fits else "computed anew for every batch")
            )
        if not fits:
            return ordered
        stored = main_first(world, lambda: self._stored_or_computed(encoded, needed))
        return ordered.with_(**{name: stored[name] for name in self.names})

    def of(self, batch: Batch) -> dict[str, paddle.Tensor]:
        """The features for a batch, float32, padded as the batch is.

        Returns:
            By name: states and vectors [rows, tokens, width], attention scores [rows, heads, tokens, tokens]; whatever
            stands there for padding means nothing.
        """
        tokens = batch["input_ids"].shape[1]
        if all(name in batch for name in self.names):
            found = {name: batch[name] for name in self.names}
            for name in self.names:
                if name.startswith(SQUARES):
                    heads = self.loaded.model.config.num_attention_heads
                    found[name] = unpacked_squares(found[name], batch["lengths"], heads, tokens)
        else:
            width = min(-(-tokens // WIDTH_STEP) * WIDTH_STEP, self.loaded.model.config.max_position_embeddings)
            fill = {"input_ids": self.loaded.encoder.pad_id, "token_type_ids": 0}
            inputs = {
                name: np.pad(batch[name], ((0, 0), (0, width - tokens)), constant_values=value)
                for name, value in fill.items()
            }
            found = {
                name: value[:, :, :tokens, :tokens] if name.startswith(SQUARES) else value[:, :tokens]
                for name, value in self._ask(inputs).items()
            }
        return {name: paddle.to_tensor(np.ascontiguousarray(value, np.float32)) for name, value in found.items()}

    def _ask(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._graph is None:
            folder = self._stack.enter_context(scratch_folder(self._cache / "graphs", GRAPH_NAME))
            names = save_graph(self.loaded, folder, self.wanted, with_outputs=False)
            self._graph = StaticGraph(folder, device=self._device, outputs=names, precision=self._precision)
        return self._graph.run(inputs)

    def _key(self, encoded: Columns) -> str:
        asked = {"weights": weights_checksum(self.loaded), "shape": self.loaded.model.config_dict(), **self.wanted}
        if self._precision != FP32:
            asked["precision"] = self._precision
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=list).encode())
        for name in ("input_ids", "token_type_ids"):
            column = encoded[name]
            assert isinstance(column, Ragged)
            column = column.compact()
            digest.update(np.ascontiguousarray(column.values).data)
            digest.update(np.ascontiguousarray(column.offsets).data)
        return digest.hexdigest()[:32]

    def _stored_or_computed(self, encoded: Columns, needed: int) -> Columns:
        self._cache.mkdir(parents=True, exist_ok=True)
        folder = self._cache / "teacher_features" / self._key(encoded)

        def make(parts: Path) -> None:
            # While the store is put together its parts are there as well.
            free = shutil.disk_usage(self._cache).free
            if 2 * needed > free:
                raise InputError(
                    f"--cache_budget: the features take {needed / 1e9:.1f} GB, twice as much while they are written; "
                    f"{self._cache} has {free / 1e9:.1f} GB free: give a smaller budget (0 keeps none), or another "
                    "--cache_dir"
                )
            paths = self._compute(encoded, parts)
            # Part after part, so that memory holds one of them.
            with StoreWriter(folder, {"kind": "teacher-features"}) as writer:
                for path in paths:
                    Columns.read(Store(path, verify=False)).write(writer)

        return stored_or_made(folder, "features", lambda: self._read(folder, encoded), make)

    def _read(self, folder: Path, encoded: Columns, rows: np.ndarray | None = None) -> Columns:
        """A store of features, or a part of one.

        Args:
            folder: the store.
            encoded: the rows as the teacher reads them.
            rows: which of them it must hold; all, from long to short, when left out.

        Raises:
            StoreDamaged: it holds something else.
        """
        found = Columns.read(Store(folder))
        expected = _long_to_short(encoded) if rows is None else rows
        if set(found) != {"row", *self.names} or not np.array_equal(np.asarray(found["row"]), expected):
            raise StoreDamaged(f"{folder}: these are no features of these rows")
        lengths = encoded.costs[expected].astype(np.int64)
        config = self.loaded.model.config
        inner = config.num_attention_heads * config.head_dim
        for name in self.names:
            column = found[name]
            square = name.startswith(SQUARES)
            shape = [] if square else [config.hidden_size if name.startswith("hidden_states") else inner]
            wanted = config.num_attention_heads * lengths**2 if square else lengths
            if (
                not isinstance(column, Ragged)
                or column.values.dtype != np.float16
                or list(column.values.shape[1:]) != shape
                or not np.array_equal(column.lengths, wanted)
            ):
                raise StoreDamaged(f"{folder}: {name} is not that of these rows")
        return found

    def _compute(self, encoded: Columns, parts: Path) -> list[Path]:
        """Runs the teacher over all rows; parts that an interrupted pass left stay."""
        lengths, order = encoded.costs, _long_to_short(encoded)
        per_token = max(1, self.bytes_for(encoded) // max(1, int(lengths.sum())))
        inputs = Columns({name: encoded[name] for name in ("input_ids", "token_type_ids")})

        def make(path: Path, rows: np.ndarray) -> None:
            with StoreWriter(path) as writer:
                for batch in token_parts(lengths, rows, TOKENS_PER_BATCH):
                    Columns({"row": batch, **self._packed(inputs, batch, lengths[batch])}).write(writer)

        def read(path: Path, rows: np.ndarray) -> None:
            self._read(path, encoded, rows)

        blocks = token_parts(lengths, order, max(1, PART_BYTES // per_token))
        return in_parts(parts, "teacher's features", blocks, len(order), read, make)

    def _packed(self, inputs: Columns, rows: np.ndarray, lengths: np.ndarray) -> dict[str, Ragged]:
        said = self._ask(inputs.padded(rows, self.loaded.encoder.pad_id))
        if bad := [name for name, value in said.items() if not np.isfinite(value).all()]:
            raise Diverged(f"the teacher's {', '.join(bad)} are not finite: its weights are worthless; train it again")
        return {name: packed(name, value, lengths) for name, value in said.items()}


def _long_to_short(encoded: Columns) -> np.ndarray:
    return np.argsort(-encoded.costs, kind="stable")


def packed(name: str, values: np.ndarray, lengths: np.ndarray) -> Ragged:
    """The features of a padded batch without padding, in half precision; see :func:`unpacked_squares`."""
    limit = np.finfo(np.float16).max
    values = np.clip(values, -limit, limit).astype(np.float16)
    if name.startswith(SQUARES):
        flat = [square[:, :length, :length].reshape(-1) for square, length in zip(values, lengths, strict=True)]
        return Ragged.from_lengths(np.concatenate(flat), values.shape[1] * lengths**2)
    inside = np.arange(values.shape[1]) < lengths[:, None]  # [rows, tokens]
    return Ragged.from_lengths(values[inside], lengths)


def unpacked_squares(flat: np.ndarray, lengths: np.ndarray, heads: int, tokens: int) -> np.ndarray:
    """Attention scores as [rows, heads, tokens, tokens], 0 for padding.

    Args:
        flat: [rows, longest], a row's [heads, length, length] laid out flat.
        lengths: [rows].
        heads: of the teacher.
        tokens: width of the batch.
    """
    out = np.zeros([len(flat), heads, tokens, tokens], flat.dtype)
    for row, length in enumerate(np.asarray(lengths).tolist()):
        out[row, :, :length, :length] = flat[row, : heads * length * length].reshape(heads, length, length)
    return out
