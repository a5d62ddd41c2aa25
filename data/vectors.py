"""Word vectors from files: word2vec (text and binary), GloVe, fastText's ``.vec``; each also gzipped.

Nothing is unpickled; of the words only those that are wanted are kept, so a file of gigabytes needs little memory.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from console import InputError

LONGEST_WORD = 1 << 10
WIDEST = 1 << 16
# A word and its numbers: of more bytes no line is read.
LONGEST_LINE = LONGEST_WORD * 4 + WIDEST * 32


def read_vectors(
    path: str | os.PathLike[str], wanted: Collection[str], option: str = "--embedding_path"
) -> tuple[dict[str, np.ndarray], int]:
    """The vectors of the wanted words.

    Args:
        path: a text file with a word and its numbers per line, with or without word2vec's first line of two counts;
            or word2vec's binary format, by the name's ending ``.bin`` or ``.bin.gz``. Of a word given twice the first
            vector counts.
        wanted: words.
        option: names the file in errors.

    Returns:
        Vectors, float32, by word; and their width.

    Raises:
        InputError: missing, or not in one of the formats; names the line.
    """
    path = Path(path)
    where = f"{option} {path}"
    if not path.is_file():
        raise InputError(f"{where}: no such file")
    names = path.name.removesuffix(".gz")
    opened: Callable = gzip.open if path.name.endswith(".gz") else open
    wanted = set(wanted)
    found: dict[str, np.ndarray] = {}
    width = 0
    try:
        with opened(path, "rb") as file:
            entries = _binary(file, where) if names.endswith(".bin") else _text(file, where, wanted)
            for word, vector, entry_width in entries:
                width = entry_width
                if word in wanted and word not in found and vector is not None:
                    found[word] = vector
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{where}: damaged or cut off ({error})") from error
    if width == 0:
        raise InputError(f"{where}: no vectors in this file")
    return found, width


def _text(file: BinaryIO, where: str, wanted: set[str]) -> Iterator[tuple[str, np.ndarray | None, int]]:
    width = 0
    for number, raw in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
        if len(raw) == LONGEST_LINE:
            raise InputError(f"{where}, line {number}: longer than any word with its numbers")
        line = raw.decode("utf-8", errors="replace").rstrip("\n\r ")
        if not line:
            continue
        # The numbers come last: GloVe's words may hold blanks.
        head = line.split(" ", 1)[0]
        if width == 0:
            fields = line.split(" ")
            if len(fields) == 2 and all(map(_is_count, fields)):
                width = int(fields[1])
                if not 0 < width <= WIDEST:
                    raise InputError(f"{where}, line {number}: vectors of width {fields[1]}")
                continue
            width = len(fields) - 1
            if not 2 <= width <= WIDEST:
                raise InputError(f"{where}, line {number}: expected a word and its numbers")
        parts = line.rsplit(" ", width)
        if len(parts) != width + 1:
            raise InputError(f"{where}, line {number}: expected a word and {width} numbers, found {line.count(' ')}")
        word = parts[0] if len(parts[0]) != len(head) else head
        yield word, _numbers(parts[1:], where, number) if word in wanted else None, width


def _is_count(field: str) -> bool:
    # Other scripts have digits too, and ``²`` is one that is no number.
    return field.isascii() and field.isdigit() and len(field) < 19


def _numbers(fields: list[str], where: str, number: int) -> np.ndarray:
    try:
        values = np.asarray(fields, np.float32)
    except ValueError as error:
        raise InputError(f"{where}, line {number}: {error}") from None
    if not np.isfinite(values).all():
        raise InputError(f"{where}, line {number}: a number is not finite")
    return values


def _binary(file: BinaryIO, where: str) -> Iterator[tuple[str, np.ndarray | None, int]]:
    header = file.readline(64).split()
    if len(header) != 2 or not all(_is_count(field.decode("latin-1")) for field in header):
        raise InputError(f"{where}: expected word2vec's first line, the two counts")
    count, width = int(header[0]), int(header[1])
    if not 0 < width <= WIDEST:
        raise InputError(f"{where}: damaged, its first line tells of vectors of width {width:,}")
    for entry in range(1, count + 1):
        word = bytearray()
        while (char := file.read(1)) != b" ":
            if not char or len(word) > LONGEST_WORD:
                raise InputError(f"{where}: cut off or damaged at word {entry:,} of {count:,}")
            word += char
        raw = file.read(4 * width)
        if len(raw) != 4 * width:
            raise InputError(f"{where}: cut off at word {entry:,} of {count:,}")
        # Some writers end an entry with a line end, which then stands before the next word.
        yield word.decode("utf-8", errors="replace").lstrip("\n"), np.frombuffer(raw, "<f4").astype(np.float32), width
