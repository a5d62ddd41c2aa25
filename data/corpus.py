"""Running text as documents, from plain, JSON-lines and gzipped files, in shares of a bounded size.

A share (the work behind one shard) is named by a file and the places of its first and last document, or by several
small files, which a quick scan finds; so any worker on any machine reads the same documents for it.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from console import InputError
from data.sources import BadRow, checked_text, decoded_lines
from files import file_checksum

SUFFIXES = (".txt", ".jsonl", ".json", ".txt.gz", ".jsonl.gz", ".json.gz")
FIELD = "text"
# A longer line is no text.
LONGEST_LINE = 64 << 20
# Of a file, to see what it holds.
BEGINNING = 4096

# A file of less than one in so many of a share's bytes is read together with its neighbours.
SMALL = 16
# Text without blank lines is cut at this size all the same, or at one and a half times a share's where that is more.
LONGEST_DOCUMENT = 1 << 20


@dataclass(frozen=True)
class Reading:
    """What is a document in a file.

    Attributes:
        field: of records, the one that holds the text.
        by_line: whether every line is a document; a blank line ends one otherwise.
    """

    field: str = FIELD
    by_line: bool = False


PLAIN = Reading()


@dataclass(frozen=True)
class Part:
    """Documents of one file.

    Attributes:
        path: the file.
        start: where its first document begins, in bytes of the unzipped text.
        stop: where its last one ends.
        line: number of the line at ``start``, from 1.
        reference: a file with a line for every line of the text, which tells its words.
        reference_start: where the line for ``line`` begins there, in bytes.
        ends_inside: whether its last document was too long, and goes on in the next part as another one.
        reading: what a document is.
    """

    path: Path
    start: int
    stop: int
    line: int
    reference: Path | None = None
    reference_start: int = 0
    ends_inside: bool = False
    reading: Reading = PLAIN


@dataclass(frozen=True)
class Share:
    """The text behind one shard.

    Attributes:
        parts: of it; more than one are whole files.
    """

    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes of text."""
        return sum(part.stop - part.start for part in self.parts)

    @property
    def has_references(self) -> bool:
        """Whether words are told by reference files."""
        return self.parts[0].reference is not None


def corpus_files(names: Sequence[str], option: str = "--input_dir") -> list[Path]:
    """The files behind names: files as they are, and those of folders and their sub-folders, by name.

    Where no name in a folder ends as those of text do, names without an ending count, such as the ``wiki_00`` of
    extracted encyclopedias.

    Raises:
        InputError: nothing there, or a file of another kind.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if not name or not path.exists():
            raise InputError(f"{option} {name}: no such file or folder")
        inside = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
        known = [part for part in inside if part.name.endswith(SUFFIXES)] or [
            part for part in inside if has_no_ending(part) and part.is_file()
        ]
        if not known:
            raise InputError(f"{option} {name}: no file that ends in {', '.join(SUFFIXES)}, and none without an ending")
        found += known
    return list(dict.fromkeys(found))


def has_no_ending(path: Path) -> bool:
    """Whether nothing in a name tells what the file holds; hidden ones tell that they are not meant."""
    return not path.suffix and not path.name.startswith(".")


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # type: ignore[return-value]


def is_json(path: Path) -> bool:
    """Whether a file holds records, a document each, instead of lines of text: by its name, or by how it begins."""
    if has_no_ending(path):
        with _readable(path) as file:
            return file.read(BEGINNING).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    return path.name.removesuffix(".gz").endswith((".jsonl", ".json"))


def shares(
    files: Sequence[Path], size: int, references: Sequence[Path] = (), reading: Reading = PLAIN
) -> Iterator[Share]:
    """Cuts files into shares of whole documents of about ``size`` bytes, and puts small files together.

    A document that is longer than :data:`LONGEST_DOCUMENT` and one and a half shares ends there, with its line, and
    goes on as another one: memory is bounded whatever the text.

    Args:
        files: of text.
        size: of a share.
        references: as many files that tell the words of every line, or none.
        reading: what a document is.

    Raises:
        InputError: a gzipped file that is damaged, a line that is no text, or a reference of more or fewer lines.
    """
    longest = max(LONGEST_DOCUMENT, size * 3 // 2)
    waiting: list[Part] = []
    for path, reference in zip(files, references or [None] * len(files), strict=True):
        start = place = 0
        first = number = 1
        told = _ReferencePlace(reference, path)
        begin = 0
        every_line = reading.by_line or is_json(path)
        for line in _lines(path):
            place += len(line)
            number += 1
            told.next_line(number - 1)
            # A document ends behind a blank line; of JSON lines every line is one.
            is_end = every_line or not line.strip()
            if place - start >= (size if is_end else longest):
                if waiting:
                    yield Share(tuple(waiting))
                    waiting = []
                yield Share((Part(path, start, place, first, reference, begin, not is_end, reading),))
                start, first, begin = place, number, told.place
        told.end(number - 1)
        if place == start:
            continue
        part = Part(path, start, place, first, reference, begin, reading=reading)
        # What is left of a file that was cut is a share of its own, too.
        is_small = start == 0 and place * SMALL < size
        if waiting and not (is_small and Share((*waiting, part)).size <= size):
            yield Share(tuple(waiting))
            waiting = []
        if is_small:
            waiting.append(part)
        else:
            yield Share((part,))
    if waiting:
        yield Share(tuple(waiting))


def check_first_records(files: Sequence[Path], reading: Reading = PLAIN) -> None:
    """Reads the first record of every file that holds records.

    Raises:
        InputError: it has no text where it is to be.
    """
    for path in filter(is_json, files):
        next(_documents_of(Part(path, 0, sys.maxsize, 1, reading=reading)), None)


def layout(found: Sequence[Share]) -> str:
    """How shares are cut, as far as it is not a part of one file each, up to the end of a document."""
    several = any(len(share.parts) > 1 for share in found)
    inside = any(part.ends_inside for share in found for part in share.parts)
    return " and ".join([*(["several files"] if several else []), *(["parts of documents"] if inside else [])])


class _ReferencePlace:
    """Walks through a reference beside its text, if there is one."""

    def __init__(self, reference: Path | None, text: Path) -> None:
        self._path, self._text, self.place = reference, text, 0
        self._rest = _lines(reference) if reference else iter(())

    def next_line(self, number: int) -> None:
        if self._path is None:
            return
        line = next(self._rest, None)
        if line is None:
            raise InputError(
                f"--reference_file {self._path}: {number - 1:,} lines, {self._text} has more; is it that of another "
                "file?"
            )
        self.place += len(line)

    def end(self, lines: int) -> None:
        if next(self._rest, None) is not None:
            raise InputError(
                f"--reference_file {self._path}: more than the {lines:,} lines of {self._text}; is it that of another "
                "file?"
            )


def references(share: Share) -> Iterator[tuple[str, list[int]]]:
    """Where every line of a share that is not blank has its reference, for errors, and what that says of it.

    Raises:
        InputError: a line of it is no list of positions, or of a blank line not empty; names file and line.
    """
    for part in share.parts:
        assert part.reference is not None
        with _readable(part.path) as text, _readable(part.reference) as told:
            text.seek(part.start)
            told.seek(part.reference_start)
            for number, line in enumerate(iter(_Until(text, part.stop, part.path).readline, b""), part.line):
                known = told.readline(LONGEST_LINE)
                where = f"--reference_file {part.reference}, line {number}"
                positions = _positions(known, where)
                # As text: a line may be blank by an ideographic space alone.
                if line.decode("utf-8", "replace").removeprefix("\ufeff").strip():
                    yield where, positions
                elif positions:
                    raise InputError(f"{where}: names words of a blank line; is it that of another file?")


def _positions(line: bytes, where: str) -> list[int]:
    try:
        found = json.loads(line) if line.strip() else []
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or any(type(value) is not int for value in found):
        raise InputError(f"{where}: expected a list of positions such as [2, 3, 7]")
    return found


def text_lines(path: Path) -> Iterator[str]:
    """All lines of a file of text, blank ones too, as :func:`documents` reads them.

    Raises:
        InputError: a line that cannot be read; names file and line.
    """
    with _readable(path) as file:
        for number, line in decoded_lines(_Until(file, None, path)):  # type: ignore[arg-type]
            try:
                if isinstance(line, BadRow):
                    raise line
                yield checked_text(line, "text") if line.strip() else ""
            except BadRow as fault:
                raise InputError(f"{path}, line {number}: {fault}") from None


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[BinaryIO]:
    """An opened file whose damage is told in a line.

    Raises:
        InputError: damaged, or gone.
    """
    try:
        with _opened(path) as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged or cut off ({error})") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: the file has gone") from error


def _lines(path: Path) -> Iterator[bytes]:
    with _readable(path) as file:
        while line := file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise InputError(f"{path}: a line of more than {LONGEST_LINE >> 20} MB: this is no text")
            yield line


def documents(share: Share) -> Iterator[list[str]]:
    """The documents of a share, each its lines; records without text are passed over, as blank lines are.

    Raises:
        InputError: a line that cannot be read; names file and line.
    """
    for part in share.parts:
        yield from _documents_of(part)


def _documents_of(part: Part) -> Iterator[list[str]]:
    kept: list[str] = []
    holds_records = is_json(part.path)
    with _readable(part.path) as file:
        # Within a gzipped file this reads all that comes before.
        file.seek(part.start)
        for number, line in decoded_lines(_Until(file, part.stop, part.path)):  # type: ignore[arg-type]
            try:
                if isinstance(line, BadRow):
                    raise line
                if holds_records:
                    if line.strip() and (lines := _json_document(line, part.reading.field)):
                        yield lines
                elif part.reading.by_line:
                    if line.strip():
                        yield [checked_text(line, "text")]
                elif line.strip():
                    kept.append(checked_text(line, "text"))
                elif kept:
                    yield kept
                    kept = []
            except BadRow as fault:
                raise InputError(f"{part.path}, line {part.line + number - 1}: {fault}") from None
    if kept:
        yield kept


class _Until:
    """A file that ends at a place, and knows its name."""

    def __init__(self, file: BinaryIO, stop: int | None, path: Path) -> None:
        self._file, self._stop, self.path = file, stop, path

    def readline(self, limit: int = LONGEST_LINE) -> bytes:
        return self._file.readline(limit) if self._stop is None or self._file.tell() < self._stop else b""


def _json_document(text: str, field: str) -> list[str]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"not valid JSON ({error})") from None
    body = record.get(field) if isinstance(record, dict) else None
    if not isinstance(body, str):
        others = [name for name, value in record.items() if isinstance(value, str)] if isinstance(record, dict) else []
        hint = f"; --text_field may name another: {', '.join(others[:5])}" if others else ""
        raise BadRow(f"expected an object with a field {field!r} that holds text{hint}")
    return [checked_text(line, "text") for line in body.splitlines() if line.strip()]


def fingerprint(files: Sequence[Path]) -> list[tuple[str, int, str]]:
    """Names, sizes and checksums of files: what a corpus began with and must go on with."""
    return [(path.name, os.stat(path).st_size, file_checksum(path)) for path in files]
