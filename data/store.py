"""One checksummed, memory-mappable store: a folder of plain columns that is complete or absent.

Every column is a file of little-endian numbers; a ragged column has a second file of offsets.
``manifest.json`` names the columns, their shapes, a SHA-256 of each file and of itself, and free metadata. A writer
fills a folder with a temporary name, which takes its real name in one step when everything is on the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from console import InputError
from data.ragged import Ragged

FORMAT = "paddledistill-store-1"
CHUNK = 1 << 22
MEMORY_MAP_BYTES = 64 << 20


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
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = Path(tempfile.mkdtemp(prefix=f".{self._folder.name}-", dir=self._folder.parent))
        self._columns: dict[str, _ColumnWriter] = {}
        self.rows = 0

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
        if kind is not None:
            self._discard()
            return
        try:
            self._publish()
        except BaseException:
            self._discard()
            raise

    def _publish(self) -> None:
        manifest = {
            "format": FORMAT,
            "rows": self.rows,
            "columns": {name: column.close() for name, column in self._columns.items()},
            "metadata": self._metadata,
        }
        manifest["sha256"] = _manifest_checksum(manifest)
        write_atomically(self._temporary / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))
        publish_folder(self._temporary, self._folder)

    def _discard(self) -> None:
        for column in self._columns.values():
            # A full disk has been reported already.
            with contextlib.suppress(OSError):
                column.close()
        shutil.rmtree(self._temporary, ignore_errors=True)


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
            manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise StoreDamaged(f"{folder}: expected a store of format {FORMAT}, found {manifest['format']!r}")
            if manifest.pop("sha256") != _manifest_checksum(manifest):
                raise StoreDamaged(f"{self.folder / 'manifest.json'}: the checksum differs from the one written")
            self.rows: int = manifest["rows"]
            self.metadata: dict[str, Any] = manifest["metadata"]
            self._columns: dict[str, dict[str, Any]] = manifest["columns"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreDamaged(f"{folder}: no complete store here ({type(error).__name__}: {error})") from error
        self._memory_map = memory_map
        for column in self._columns.values():
            for file in column["files"].values():
                self._check(file, verify)

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
            return Ragged(values, self._load(column["files"]["offsets"]))
        return values.reshape([self.rows, *column["shape"]])

    def _check(self, file: Mapping[str, Any], verify: bool) -> None:
        path = self.folder / file["name"]
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            found = path.stat().st_size if path.is_file() else "none"
            raise StoreDamaged(f"{path}: expected {file['bytes']} bytes, found {found}")
        if verify and file_checksum(path) != file["sha256"]:
            raise StoreDamaged(f"{path}: the checksum differs from the one written")

    def _load(self, file: Mapping[str, Any]) -> np.ndarray:
        path, dtype = self.folder / file["name"], np.dtype(file["dtype"])
        if file["bytes"] == 0:
            return np.empty(0, dtype)
        if self._memory_map and file["bytes"] > MEMORY_MAP_BYTES:
            return np.memmap(path, dtype, "r")
        return np.fromfile(path, dtype)


class _ColumnWriter:
    """One column: its files, their running checksums, and for ragged ones the next offset."""

    def __init__(self, folder: Path, name: str, first: np.ndarray | Ragged) -> None:
        self.ragged = isinstance(first, Ragged)
        values = first.values if isinstance(first, Ragged) else first
        self.shape = [] if self.ragged else list(values.shape[1:])
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


def file_checksum(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file under a temporary name, then renames it: a reader finds the old one or the new one."""
    with new_file(path) as file:
        # Below the text layer, so that bytes and line ends stay as they are.
        file.buffer.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """A UTF-8 file under a temporary name that takes the name ``path`` when the block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def publish_folder(temporary: Path, folder: Path) -> None:
    """Gives a finished folder its real name; an older one of that name goes away afterwards."""
    os.chmod(temporary, 0o755)
    old = None
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        os.rename(folder, old / folder.name)
    os.rename(temporary, folder)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Gives a folder its name back that a killed :func:`publish_folder` had moved aside and not replaced."""
    if folder.exists():
        return
    for aside in sorted(folder.parent.glob(f".{folder.name}-old-*/{folder.name}")):
        os.rename(aside, folder)
        shutil.rmtree(aside.parent, ignore_errors=True)
        return


def check_new_folder(folder: str | os.PathLike[str], option: str) -> None:
    """Refuses a folder that could not be made, before hours are spent on what it is to hold.

    Args:
        folder: the folder.
        option: names it in errors.

    Raises:
        InputError: it, or the nearest folder above it that exists, is a file or may not be written to.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{option} {folder}: {place} is a file, expected a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{option} {folder}: no right to write in {place}")


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder under a temporary name that takes the name ``folder`` when the block ends without an exception."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    publish_folder(temporary, folder)
