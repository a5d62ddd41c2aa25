"""Named columns of as many rows: what models read, what teachers said, labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data.ragged import Ragged
from data.store import Store, StoreWriter

Column = Ragged | np.ndarray
IDS, LABELS = "input_ids", "labels"
# Rows that are hashed at a time.
BLOCK = 4096


def _joined(parts: Sequence[Column]) -> Column:
    ragged = [part for part in parts if isinstance(part, Ragged)]
    return Ragged.concat(ragged) if len(ragged) == len(parts) else np.concatenate(parts)  # type: ignore[arg-type]


class Columns(Mapping[str, Column]):
    """Columns by name; plain ones are arrays [rows, …], those of different lengths :class:`Ragged`.

    They are views where that is possible, of memory-mapped files too; every method returns new columns.

    Args:
        columns: all of the same number of rows.

    Raises:
        ValueError: they are not.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"all columns must have as many rows, got {sizes}")
        self._columns = dict(columns)
        self.rows = next(iter(sizes.values()), 0)

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def with_(self, **more: Column) -> Columns:
        """The same with more columns, or others in the place of some."""
        return Columns({**self, **more})

    def take(self, rows: np.ndarray) -> Columns:
        """The named rows, in the order given."""
        return Columns({name: c.take(rows) if isinstance(c, Ragged) else c[rows] for name, c in self.items()})

    def slice(self, start: int, stop: int) -> Columns:
        """The rows in [start, stop), as views."""
        return Columns(
            {name: c.slice(start, stop) if isinstance(c, Ragged) else c[start:stop] for name, c in self.items()}
        )

    @staticmethod
    def concat(parts: Sequence[Columns]) -> Columns:
        """All rows of ``parts``, in order.

        Raises:
            ValueError: the parts have not the same columns.
        """
        names = list(parts[0])
        if any(part.keys() != parts[0].keys() for part in parts):
            raise ValueError(f"expected parts with the same columns, got {[sorted(part) for part in parts]}")
        if len(parts) == 1:
            return parts[0]
        return Columns({name: _joined([part[name] for part in parts]) for name in names})

    def padded(self, rows: np.ndarray, pad_id: int, widths: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
        """The named rows as arrays; ragged columns are filled up to the longest row, or to a width.

        Beside token ids stand their true lengths, [rows]: ``lengths`` for ``input_ids``, ``lengths_b`` for
        ``input_ids_b``.

        Args:
            rows: numbers of rows.
            pad_id: fills columns of token ids; others are filled with 0.
            widths: by the name of a ragged column.
        """
        found = {}
        for name, column in self.items():
            if not isinstance(column, Ragged):
                found[name] = np.asarray(column[rows])
                continue
            is_ids = name.startswith(IDS)
            found[name] = column.padded(rows, pad_id if is_ids else 0, (widths or {}).get(name))
            if is_ids:
                found[name.replace(IDS, "lengths")] = column.offsets[rows + 1] - column.offsets[rows]
        return found

    @property
    def costs(self) -> np.ndarray:
        """What each row costs a model: its tokens, of a pair those of both sides; int64, [rows]."""
        lengths = [c.lengths for name, c in self.items() if name.startswith(IDS) and isinstance(c, Ragged)]
        return sum(lengths) if lengths else np.zeros(self.rows, np.int64)

    def counts(self, name: str) -> np.ndarray:
        """How many values each row has in a ragged column; int64, [rows]."""
        column = self[name]
        if not isinstance(column, Ragged):
            raise ValueError(f"{name}: expected a column of rows of different lengths")
        return column.lengths

    def write(self, writer: StoreWriter) -> None:
        """Appends the rows to a store."""
        writer.append(**self)

    @classmethod
    def read(cls, store: Store) -> Columns:
        """All columns of a store, large ones memory-mapped."""
        return cls({name: store[name] for name in store.columns})


class JoinedColumns(Columns):
    """The rows of several tables one after the other, of which none is copied: shards on the disk.

    A column asked for by its name is put together in memory; rows, counts and costs are not.

    Args:
        parts: with the same columns.

    Raises:
        ValueError: no part, or parts with other columns.
    """

    def __init__(self, parts: Sequence[Columns]) -> None:
        if not parts or any(part.keys() != parts[0].keys() for part in parts):
            raise ValueError(f"expected parts with the same columns, got {[sorted(part) for part in parts]}")
        super().__init__({})
        self._parts = list(parts)
        self._ends = np.cumsum([part.rows for part in parts])
        self.rows = int(self._ends[-1])

    def __getitem__(self, name: str) -> Column:
        return _joined([part[name] for part in self._parts])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])

    def take(self, rows: np.ndarray) -> Columns:
        rows = np.asarray(rows)
        which = np.searchsorted(self._ends, rows, side="right")
        order = np.argsort(which, kind="stable")
        found = []
        for number in np.unique(which).tolist():
            part = self._parts[number]
            found.append(part.take(rows[which == number] - (self._ends[number] - part.rows)))
        if not found:
            return self._parts[0].take(rows)
        # Part after part; back into the order that was asked for.
        return Columns.concat(found).take(np.argsort(order, kind="stable"))

    def slice(self, start: int, stop: int) -> Columns:
        return self.take(np.arange(start, min(stop, self.rows)))

    def padded(self, rows: np.ndarray, pad_id: int, widths: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
        return self.take(rows).padded(np.arange(len(rows)), pad_id, widths)

    @property
    def costs(self) -> np.ndarray:
        return np.concatenate([part.costs for part in self._parts])

    def counts(self, name: str) -> np.ndarray:
        return np.concatenate([part.counts(name) for part in self._parts])


def columns_checksum(columns: Columns) -> str:
    """Changes with any token, label or other whole number of the rows, and with their order.

    Fractions other than labels are left out: they are what models said, which another processor rounds otherwise.
    """
    digest = hashlib.sha256(repr(sorted(columns)).encode())
    for start in range(0, columns.rows, BLOCK):
        block = columns.slice(start, min(start + BLOCK, columns.rows))
        for name in sorted(block):
            column = block[name]
            if isinstance(column, Ragged):
                column = column.compact()
                digest.update(np.ascontiguousarray(column.lengths, np.int64).tobytes())
                column = column.values
            if column.dtype.kind != "f" or name == LABELS:
                digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def token_ids(vocab_size: int, *read: Mapping[str, Column]) -> np.ndarray:
    """The token ids that occur in encoded rows, in order.

    Args:
        vocab_size: of the model.
        read: the rows; their columns of ids are those whose names say so.
    """
    found = np.zeros(vocab_size, bool)
    for columns in read:
        for name in columns:
            if name.startswith(IDS):
                column = columns[name]
                assert isinstance(column, Ragged)
                values = column.compact().values
                # A part at a time: a corpus may be larger than memory.
                for start in range(0, len(values), 1 << 20):
                    found[values[start : start + (1 << 20)]] = True
    return np.flatnonzero(found)
