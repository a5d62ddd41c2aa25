"""Batches with named fields: rows of similar length together, in an order that seed and epoch decide."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from data.columns import Column, Columns, JoinedColumns
from data.ragged import Ragged
from data.streams import generator

Batch = dict[str, np.ndarray]
POOL_BATCHES = 100
TOKENS_PER_BATCH = 4096


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
        count_by: what losses are means over: ``rows``, or the values of a ragged column of that name, such as masked
            positions.
        prepare: makes of the rows of a batch, their numbers and the epoch what the batch is to hold instead: other
            masks in every epoch, for one.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
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
        count_by: str = "rows",
        prepare: Callable[[Columns, np.ndarray, int], Columns] | None = None,
    ) -> None:
        self.columns = columns if isinstance(columns, Columns) else Columns(columns)
        self.batch_size, self.pad_id = batch_size, pad_id
        self.shuffle, self.seed, self.by_length = shuffle, seed, by_length
        self.rank, self.world, self.workers = rank, world, workers
        self.multiple, self.max_width = multiple, max_width
        self.rows = self.columns.rows
        self._count_by, self._prepare = count_by, prepare
        # What is prepared is counted when it is there.
        self._counts = None if prepare else self._count(self.columns)
        # A batch costs what its longest row costs.
        self._cost = self.columns.costs

    def _count(self, columns: Columns) -> np.ndarray:
        return np.ones(columns.rows, np.int64) if self._count_by == "rows" else columns.counts(self._count_by)

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
            for rows in plan:
                yield self.collate(rows, epoch)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            waiting = deque()
            for rows in plan:
                waiting.append(pool.submit(self.collate, rows, epoch))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _width(self, column: Ragged, rows: np.ndarray) -> int:
        longest = int((column.offsets[rows + 1] - column.offsets[rows]).max(initial=0))
        return max(longest, min(-(-longest // self.multiple) * self.multiple, self.max_width))

    def collate(self, rows: np.ndarray, epoch: int = 0) -> Batch:
        """Makes this rank's share of the batch of the named rows.

        ``count`` is what the losses of the whole batch are means over, and ``weight`` this rank's share of it: losses
        are means over what a rank has, and their weighted sum over all ranks is the mean over the whole batch. A rank
        without rows gets a row of weight 0. ``size`` is the number of rows over all ranks. By ``epoch`` and
        ``first``, the number of the first row, all ranks know the batch.
        """
        places = np.arange(len(rows))[self.rank :: self.world]
        own = places if len(places) else np.arange(min(1, len(rows)))
        if self._prepare is not None:
            # All ranks prepare all rows: each must know what the others count.
            prepared = self._prepare(self.columns.take(rows), rows, epoch)
            counts, columns, mine = self._count(prepared), prepared, own
        else:
            assert self._counts is not None
            counts, columns, mine = self._counts[rows], self.columns, rows[own]
            if isinstance(columns, JoinedColumns):
                columns, mine = columns.take(mine), np.arange(len(mine))
        count, total = counts[places].sum(), counts.sum()
        batch: Batch = {"weight": np.asarray(count / max(total, 1)), "count": np.asarray(total)}
        batch |= {"size": np.asarray(len(rows)), "epoch": np.asarray(epoch), "first": np.asarray(rows[0])}
        ragged = {name: column for name, column in columns.items() if isinstance(column, Ragged)}
        widths = {name: self._width(column, mine) for name, column in ragged.items()}
        return {**batch, "rows": rows[own], **columns.padded(mine, self.pad_id, widths)}


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
