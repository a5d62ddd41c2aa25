"""Batches with named fields: rows of similar length together, in an order that seed and epoch decide."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from data.ragged import Ragged
from data.streams import generator

Columns = Mapping[str, "Ragged | np.ndarray"]
Batch = dict[str, np.ndarray]
POOL_BATCHES = 100


class Batches:
    """Cuts columns into batches.

    A batch holds every column under its name: plain columns as they are, ragged ones padded to the longest row of
    the batch, int64, with their true lengths beside them (``lengths`` for ``input_ids``, ``lengths_b`` for
    ``input_ids_b``). The order of an epoch depends on seed and epoch alone, not on workers or ranks.

    Args:
        columns: all of the same number of rows.
        batch_size: rows of a batch over all ranks.
        pad_id: fills short rows of ``input_ids`` up; other ragged columns get 0.
        shuffle: a new order every epoch; otherwise batches go from long to short.
        seed: of the run.
        by_length: put rows of similar length together (random pools of 100 batches are sorted, then the
            batches are shuffled); False gives plain random batches.
        rank: which share of every batch this process gets.
        world: number of processes.
        workers: threads that prepare batches ahead; the order stays the same.
        multiple: pad to a width that is a multiple of this, but no wider than ``max_width``: fewer shapes.
        max_width: the widest a batch is padded to beyond its longest row.
    """

    def __init__(
        self,
        columns: Columns,
        batch_size: int,
        pad_id: int = 0,
        shuffle: bool = True,
        seed: int = 42,
        by_length: bool = True,
        rank: int = 0,
        world: int = 1,
        workers: int = 1,
        multiple: int = 1,
        max_width: int = 0,
    ) -> None:
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"all columns must have as many rows, got {sizes}")
        self.columns, self.batch_size, self.pad_id = columns, batch_size, pad_id
        self.shuffle, self.seed, self.by_length = shuffle, seed, by_length
        self.rank, self.world, self.workers = rank, world, workers
        self.multiple, self.max_width = multiple, max_width
        self.rows = next(iter(sizes.values()))
        lengths = [
            column.lengths
            for name, column in columns.items()
            if name.startswith("input_ids") and isinstance(column, Ragged)
        ]
        # A batch costs what its longest row costs; of a pair both sides count.
        self._cost = sum(lengths) if lengths else np.zeros(self.rows, np.int64)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass; the last one may be smaller."""
        return -(-self.rows // self.batch_size)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The row numbers of every batch of an epoch, over all ranks."""
        if not self.shuffle:
            order = np.argsort(-self._cost, kind="stable") if self.by_length else np.arange(self.rows)
            return self._cut(order)
        rng = generator(self.seed, "data order", epoch)
        order = rng.permutation(self.rows)
        if not self.by_length:
            return self._cut(order)
        batches = []
        pool = POOL_BATCHES * self.batch_size
        for start in range(0, self.rows, pool):
            part = order[start : start + pool]
            batches += self._cut(part[np.argsort(self._cost[part], kind="stable")])
        return [batches[i] for i in rng.permutation(len(batches))]

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields this rank's share of every batch of an epoch.

        Args:
            epoch: from 0.
            start: batches to leave out at the beginning, for resuming.
        """
        plan = self.plan(epoch)[start:]
        if self.workers == 0:
            yield from map(self.collate, plan)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = deque()
            for rows in plan:
                waiting.append(pool.submit(self.collate, rows))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _width(self, column: Ragged, rows: np.ndarray) -> int:
        longest = int((column.offsets[rows + 1] - column.offsets[rows]).max(initial=0))
        return max(longest, min(-(-longest // self.multiple) * self.multiple, self.max_width))

    def collate(self, rows: np.ndarray) -> Batch:
        """Makes this rank's share of the batch of the named rows.

        ``weight`` is the share of the batch's rows: losses are means over the rows of a rank, and their weighted
        sum over all ranks is the mean over the whole batch. A rank without rows gets a row of weight 0.
        """
        mine = rows[self.rank :: self.world]
        batch: Batch = {"weight": np.asarray(len(mine) / len(rows))}
        mine = mine if len(mine) else rows[:1]
        batch["rows"] = mine
        for name, column in self.columns.items():
            if not isinstance(column, Ragged):
                batch[name] = np.asarray(column[mine])
                continue
            is_ids = name.startswith("input_ids")
            batch[name] = column.padded(mine, self.pad_id if is_ids else 0, self._width(column, mine))
            if is_ids:
                batch[name.replace("input_ids", "lengths")] = column.offsets[mine + 1] - column.offsets[mine]
        return batch
