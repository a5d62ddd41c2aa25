"""Rows of different lengths in one flat array with offsets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths.

    Attributes:
        values: all rows one after the other, shape [sum of lengths, …]: numbers, or vectors such as hidden states; may
            be memory-mapped.
        offsets: where each row starts, and the end, int64, shape [rows + 1].
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[int]], dtype: type = np.int32) -> Ragged:
        """Packs a sequence of rows."""
        rows = list(rows)
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        values = np.fromiter((v for row in rows for v in row), dtype, int(lengths.sum()))
        return cls.from_lengths(values, lengths)

    @classmethod
    def from_lengths(cls, values: np.ndarray, lengths: np.ndarray) -> Ragged:
        """Packs a flat array that is cut into ``lengths``."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(values, offsets)

    @classmethod
    def concat(cls, parts: Sequence[Ragged]) -> Ragged:
        """All rows of ``parts``, in order."""
        return cls.from_lengths(
            np.concatenate([p.values[p.offsets[0] : p.offsets[-1]] for p in parts]),
            np.concatenate([p.lengths for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """The length of each row, int64, shape [rows]."""
        # A tenth of the time of numpy.diff, which counts where single rows are served.
        return self.offsets[1:] - self.offsets[:-1]

    def slice(self, start: int, stop: int) -> Ragged:
        """A view of the rows in [start, stop), without a copy of the values."""
        return Ragged(self.values, self.offsets[start : stop + 1])

    def take(self, rows: np.ndarray) -> Ragged:
        """The named rows, in the order given, as a copy."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        taken = Ragged.from_lengths(self.values[:0], lengths)
        where = np.repeat(self.offsets[rows] - taken.offsets[:-1], lengths) + np.arange(taken.offsets[-1])
        return Ragged(self.values[where], taken.offsets)

    def compact(self) -> Ragged:
        """The same rows with offsets that start at 0."""
        if self.offsets[0] == 0 and self.offsets[-1] == len(self.values):
            return self
        return Ragged(self.values[self.offsets[0] : self.offsets[-1]], self.offsets - self.offsets[0])

    def cut(self, lengths: np.ndarray) -> Ragged:
        """Every row shortened to at most ``lengths`` (one number, or one per row) values."""
        rows = self.compact()
        kept = np.minimum(rows.lengths, lengths)
        if kept.sum() == len(rows.values):
            # Most rows that are served are short enough.
            return rows
        inside = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], rows.lengths)
        return Ragged.from_lengths(rows.values[inside < np.repeat(kept, rows.lengths)], kept)

    def padded(self, rows: np.ndarray, fill: float, width: int | None = None) -> np.ndarray:
        """The named rows, shape [rows, longest of them, …], filled up with ``fill``: whole numbers as int64."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        width = int(lengths.max(initial=0)) if width is None else width
        columns = np.arange(width)
        inside = columns < lengths[:, None]  # [rows, width]
        dtype = np.int64 if self.values.dtype.kind in "iu" else self.values.dtype
        out = np.full([*inside.shape, *self.values.shape[1:]], fill, dtype)
        out[inside] = self.values[(self.offsets[rows][:, None] + columns)[inside]]
        return out
