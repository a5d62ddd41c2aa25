"""One checksummed, memory-mappable store: a folder of plain columns that is complete or absent.

Every column is a file of little-endian numbers; a ragged column has a second file of offsets.
``manifest.json`` names the columns, their shapes, a SHA-256 of each file and of itself, and free metadata. A writer
fills a folder with a temporary name, which takes its real name in one step when everything is on the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.ragged import Ragged
from files import file_checksum, is_plain_name, pending_folder, publish_folder, read_json, write_json

FORMAT = "paddledistill-store-1"
MANIFEST = "manifest.json"
MEMORY_MAP_BYTES = 64 << 20
# Kinds of numbers: truth values, whole ones with and without sign, floating ones.
NUMERIC = "biuf"


class StoreDamaged(Exception):
    """A store is incomplete, or its bytes are not those that were written."""


class StoreWriter:
    """Writes rows, block after block, in constant memory.

    Use it as a context manager: leaving it without an exception publishes the store, an exception leaves
    nothing behind. Columns are fixed by the first block.

    Args:
        folder: where the store will be; an existing one is replaced at the very end.
        metadata: any JSON values.
    """

    def __init__(self, folder: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
        self._folder = Path(folder)
        self._metadata = dict(metadata or {})
        self._stack = contextlib.ExitStack()
        self._temporary = self._stack.enter_context(pending_folder(self._folder))
        self._columns: dict[str, _ColumnWriter] = {}
        self.rows = 0

    def set_metadata(self, **values: Any) -> None:
        """Adds to the metadata, or replaces some of it: what is known only when the rows have been seen."""
        self._metadata.update(values)

    def append(self, **columns: np.ndarray | Ragged) -> None:
        """Adds a block of rows.

        Raises:
            ValueError: other columns than in the first block, or columns of different lengths.
        """
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"all columns of a block must have as many rows, got {lengths}")
        if not self._columns:
            self._columns = {name: _ColumnWriter(self._temporary, name, column) for name, column in columns.items()}
        if columns.keys() != self._columns.keys():
            raise ValueError(f"expected the columns {sorted(self._columns)}, got {sorted(columns)}")
        for name, column in columns.items():
            self._columns[name].append(column)
        self.rows += next(iter(lengths.values()))

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if kind is None:
                self._publish()
            else:
                self._discard()

    def _publish(self) -> None:
        try:
            manifest = {
                "format": FORMAT,
                "rows": self.rows,
                "columns": {name: column.close() for name, column in self._columns.items()},
                "metadata": self._metadata,
            }
            manifest["sha256"] = _manifest_checksum(manifest)
            write_json(self._temporary / MANIFEST, manifest)
            publish_folder(self._temporary, self._folder)
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        for column in self._columns.values():
            # A full disk has been reported already.
            with contextlib.suppress(OSError):
                column.close()


class Store:
    """Reads what :class:`StoreWriter` wrote.

    Args:
        folder: the store.
        verify: compare the checksums of all files first.
        memory_map: map columns above 64 MiB instead of reading them.

    Raises:
        StoreDamaged: the store is absent, incomplete, of another format, or its checksums differ.
    """

    def __init__(self, folder: str | os.PathLike[str], verify: bool = True, memory_map: bool = True) -> None:
        self.folder = Path(folder)
        try:
            manifest = read_json(self.folder / MANIFEST)
            if manifest["format"] != FORMAT:
                raise StoreDamaged(f"{folder}: expected a store of format {FORMAT}, found {manifest['format']!r}")
            if manifest.pop("sha256") != _manifest_checksum(manifest):
                raise StoreDamaged(f"{self.folder / MANIFEST}: the checksum differs from the one written")
            self.rows: int = manifest["rows"]
            self.metadata: dict[str, Any] = dict(manifest["metadata"])
            self._columns: dict[str, dict[str, Any]] = manifest["columns"]
            _check_manifest(self.rows, self._columns)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDamaged(f"{folder}: no complete store here ({type(error).__name__}: {error})") from error
        self._memory_map = memory_map
        for column in self._columns.values():
            for file in column["files"].values():
                self._check(file, verify)
            if column["ragged"]:
                self._check_offsets(column)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._columns)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, name: str) -> np.ndarray | Ragged:
        """A whole column."""
        column = self._columns[name]
        values = self._load(column["files"]["values"])
        if column["ragged"]:
            return Ragged(values.reshape([-1, *column["shape"]]), self._load(column["files"]["offsets"]))
        return values.reshape([self.rows, *column["shape"]])

    def _check(self, file: Mapping[str, Any], verify: bool) -> None:
        path = self.folder / file["name"]
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            found = path.stat().st_size if path.is_file() else "none"
            raise StoreDamaged(f"{path}: expected {file['bytes']} bytes, found {found}")
        if verify and file_checksum(path) != file["sha256"]:
            raise StoreDamaged(f"{path}: the checksum differs from the one written")

    def _check_offsets(self, column: Mapping[str, Any]) -> None:
        """Offsets come from the file: none may point outside the values."""
        offsets = self._load(column["files"]["offsets"])
        values = column["files"]["values"]
        count = values["bytes"] // np.dtype(values["dtype"]).itemsize // math.prod(column["shape"])
        if offsets[0] != 0 or offsets[-1] != count or (np.diff(offsets) < 0).any():
            raise StoreDamaged(f"{self.folder / column['files']['offsets']['name']}: offsets outside of the values")

    def _load(self, file: Mapping[str, Any]) -> np.ndarray:
        path, dtype = self.folder / file["name"], np.dtype(file["dtype"])
        if file["bytes"] == 0:
            return np.empty(0, dtype)
        if self._memory_map and file["bytes"] > MEMORY_MAP_BYTES:
            return np.memmap(path, dtype, "r")
        return np.fromfile(path, dtype)


def _check_manifest(rows: Any, columns: Mapping[str, Any]) -> None:
    """Refuses what a writer of ours never writes: a store may come from somebody else.

    Raises:
        ValueError: types that are no numbers (``|O`` would be mapped as pointers), names outside the folder, or sizes
            that do not fit the rows.
    """
    if type(rows) is not int or rows < 0:
        raise ValueError(f"{rows!r} rows")
    for name, column in columns.items():
        shape, ragged = column["shape"], column["ragged"]
        if type(ragged) is not bool or not all(type(side) is int and side > 0 for side in shape):
            raise ValueError(f"column {name!r}: shape {shape!r}")
        roles = {"values", "offsets"} if ragged else {"values"}
        if set(column["files"]) != roles:
            raise ValueError(f"column {name!r}: expected files for {', '.join(sorted(roles))}")
        for role, file in column["files"].items():
            dtype = np.dtype(file["dtype"]) if isinstance(file["dtype"], str) else None
            if dtype is None or dtype.kind not in NUMERIC or (role == "offsets" and dtype != np.dtype("<i8")):
                raise ValueError(f"column {name!r}: the type {file['dtype']!r} is none of numbers")
            if not is_plain_name(file["name"]) or type(file["bytes"]) is not int or type(file["sha256"]) is not str:
                raise ValueError(f"column {name!r}: the file {file['name']!r}")
            width = dtype.itemsize * math.prod(shape)
            expected = {"values": rows * width, "offsets": (rows + 1) * 8}[role]
            fits = file["bytes"] % width == 0 if ragged and role == "values" else file["bytes"] == expected
            if not fits:
                raise ValueError(f"column {name!r}: {file['bytes']} bytes do not hold {rows} rows")


class _ColumnWriter:
    """One column: its files, their running checksums, and for ragged ones the next offset."""

    def __init__(self, folder: Path, name: str, first: np.ndarray | Ragged) -> None:
        self.ragged = isinstance(first, Ragged)
        values = first.values if isinstance(first, Ragged) else first
        self.shape = list(values.shape[1:])
        self.end = 0
        self.files = {"values": _HashedFile(folder / f"{name}.bin", values.dtype)}
        if self.ragged:
            self.files["offsets"] = _HashedFile(folder / f"{name}.offsets.bin", np.dtype(np.int64))
            self.files["offsets"].write(np.zeros(1, np.int64))

    def append(self, column: np.ndarray | Ragged) -> None:
        if isinstance(column, Ragged) != self.ragged:
            raise ValueError("a column is ragged in every block or in none")
        if isinstance(column, Ragged):
            column = column.compact()
            if list(column.values.shape[1:]) != self.shape:
                raise ValueError(f"expected values of shape {self.shape}, got {list(column.values.shape[1:])}")
            self.files["values"].write(column.values)
            self.files["offsets"].write(column.offsets[1:] + self.end)
            self.end += int(column.offsets[-1])
        else:
            if list(column.shape[1:]) != self.shape:
                raise ValueError(f"expected rows of shape {self.shape}, got {list(column.shape[1:])}")
            self.files["values"].write(column)

    def close(self) -> dict[str, Any]:
        return {
            "ragged": self.ragged,
            "shape": self.shape,
            "files": {role: file.close() for role, file in self.files.items()},
        }


class _HashedFile:
    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self._path, self._dtype = path, dtype.newbyteorder("<")
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._hash = hashlib.sha256()
        self._bytes = 0

    def write(self, values: np.ndarray) -> None:
        block = np.ascontiguousarray(values, self._dtype).data.cast("B") if values.size else b""
        self._file.write(block)
        self._hash.update(block)
        self._bytes += len(block)

    def close(self) -> dict[str, Any]:
        if not self._file.closed:
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
        return {
            "name": self._path.name,
            "dtype": self._dtype.str,
            "bytes": self._bytes,
            "sha256": self._hash.hexdigest(),
        }


def _manifest_checksum(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
