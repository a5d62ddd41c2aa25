"""Running text as sequences of token ids: read line by line, cut into sequences, kept in a store.

Files are read line by line and cut into sequences in constant memory, but for the share that is held out; the store is
memory-mapped, so that a training over any amount of text needs no more either. Lines of one document that fit together
make one sequence; blank lines part documents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from console import InputError, progress, say
from data.columns import Columns
from data.ragged import Ragged
from data.sentences import split_sentences
from data.sources import BadRow, checked_text, decoded_lines
from data.store import Store, StoreDamaged, StoreWriter
from data.streams import generator
from data.tokenization import InputEncoder, tokenizer_identity
from files import alone_in, file_checksum

LINES = 4096
# Characters of a piece that is tokenised at once: long lines, such as whole documents, are cut at blanks.
LONGEST_PIECE = 10_000
BLOCK_CHARACTERS = 4 << 20


def text_files(paths: Sequence[str]) -> list[Path]:
    """The files behind paths: files as they are, and the ``.txt`` files of folders, by name.

    Raises:
        InputError: nothing there.
    """
    found: list[Path] = []
    for name in paths:
        path = Path(name)
        if not name:
            raise InputError("--text: expected a file or a folder, got an empty name")
        if path.is_dir():
            inside = sorted(part for part in path.iterdir() if part.suffix == ".txt" and part.is_file())
            if not inside:
                raise InputError(f"--text {name}: no .txt file in this folder")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"--text {name}: no such file or folder")
    return list(dict.fromkeys(found))


def lines_of(path: Path, language: str | None) -> Iterator[str | None]:
    """The lines of a file, or with a language their sentences; None between documents.

    Raises:
        InputError: not UTF-8; names file and line.
    """
    for number, line in decoded_lines(path):
        if isinstance(line, BadRow):
            raise InputError(f"{path}, line {number}: {line}")
        if not line.strip():
            yield None
            continue
        try:
            text = checked_text(line, "text")
        except BadRow as fault:
            raise InputError(f"{path}, line {number}: {fault}") from None
        for piece in (text,) if language is None else split_sentences(text, language):
            yield from pieces_of(piece)
    yield None


def pieces_of(text: str, longest: int = LONGEST_PIECE) -> Iterator[str]:
    """A text in pieces of at most ``longest`` characters, cut at blanks where there are some."""
    start = 0
    while len(text) - start > longest:
        stop = text.rfind(" ", start + 1, start + longest + 1)
        stop = stop if stop > start else start + longest
        yield text[start:stop]
        start = stop
    if text[start:].strip():
        yield text[start:]


def sequences(pieces: Iterator[np.ndarray | None], longest: int, join: bool) -> Iterator[np.ndarray]:
    """Cuts the token ids of lines into sequences.

    Args:
        pieces: ids of each line; None between documents.
        longest: tokens of a sequence.
        join: put lines of one document together while they fit; longer ones are cut either way.
    """
    kept: list[np.ndarray] = []
    size = 0
    for line in pieces:
        if kept and (line is None or not join or size + len(line) > longest):
            yield np.concatenate(kept)
            kept, size = [], 0
        if line is None:
            continue
        for start in range(0, len(line), longest):
            part = line[start : start + longest]
            if start + longest < len(line):
                yield part
            else:
                kept, size = [*kept, part], size + len(part)
    if kept:
        yield np.concatenate(kept)


def raw_text_store(
    files: Sequence[Path],
    encoder: InputEncoder,
    cache: Path,
    share: float,
    seed: int,
    split_language: str | None = None,
) -> tuple[Columns, Columns]:
    """The sequences of files as a BERT reads them, from the cache where they were made before.

    Args:
        files: see :func:`text_files`.
        encoder: of the model; its length is that of the sequences.
        cache: the cache folder.
        share: of the sequences that are held out.
        seed: of the run; draws them.
        split_language: one sentence of this language per sequence; None joins lines.

    Returns:
        The sequences to learn from, and those held out: ``input_ids`` and ``token_type_ids``, views of memory-mapped
        files where they are large.

    Raises:
        InputError: a line that cannot be read, or too little text for both.
    """
    head = {
        "version": 1,
        "files": [file_checksum(path) for path in files],
        "longest": encoder.max_seq_length,
        "split": split_language,
        "held_out": [share, seed],
        **tokenizer_identity(encoder.tokenizer),
    }
    key = hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache / "raw_text" / key
    with alone_in(folder.with_name(f"{key}.made"), f"text in {cache}"):
        try:
            return _parts(Store(folder))
        except StoreDamaged as damage:
            if folder.exists():
                say(f"the stored text is damaged and is read again ({damage})")
        metadata = {"kind": "raw-text", "held_out": 0}
        kept: list[Columns] = []
        with StoreWriter(folder, metadata) as writer:
            rng = generator(seed, "held out")
            for path in progress(files, "reading text", len(files), "file"):
                made = sequences(
                    _encoded(path, encoder, split_language), encoder.max_seq_length - 2, not split_language
                )
                for block in _blocks(made):
                    read, drawn = encoder.arrange([block]), rng.random(len(block)) < share
                    kept.append(read.take(np.flatnonzero(drawn)))
                    read.take(np.flatnonzero(~drawn)).write(writer)
            learnt, held_out = writer.rows, sum(part.rows for part in kept)
            if learnt == 0 and held_out == 0:
                raise InputError(f"--text {files[0]}: no text in {'this file' if len(files) == 1 else 'these files'}")
            if not learnt or not held_out:
                raise InputError(
                    f"--held_out {share:g}: leaves no rows on one side of {learnt + held_out:,}; give more text, or "
                    "another share"
                )
            # Those held out stand at the end, so that both parts are views of one file.
            writer.set_metadata(held_out=held_out)
            Columns.concat(kept).write(writer)
        return _parts(Store(folder))


def _parts(store: Store) -> tuple[Columns, Columns]:
    held_out, rows = store.metadata.get("held_out"), Columns.read(store)
    if type(held_out) is not int or not 0 < held_out < rows.rows:
        raise StoreDamaged(f"{store.folder}: this is no text")
    return rows.slice(0, rows.rows - held_out), rows.slice(rows.rows - held_out, rows.rows)


def _encoded(path: Path, encoder: InputEncoder, language: str | None) -> Iterator[np.ndarray | None]:
    """The token ids of every line; a block of lines is cut into pieces at once."""
    block: list[str | None] = []
    size = 0

    def flushed() -> Iterator[np.ndarray | None]:
        texts = [line for line in block if line is not None]
        ids = encoder.tokenizer.encode(texts)
        place = 0
        for line in block:
            if line is None:
                yield None
            else:
                yield ids[place]
                place += 1

    for line in lines_of(path, language):
        block.append(line)
        size += len(line or "")
        if len(block) >= LINES or size >= BLOCK_CHARACTERS:
            yield from flushed()
            block, size = [], 0
    yield from flushed()


def _blocks(rows: Iterator[np.ndarray]) -> Iterator[Ragged]:
    kept: list[np.ndarray] = []
    for row in rows:
        if len(row):
            kept.append(row)
        if len(kept) >= LINES:
            yield _packed(kept)
            kept = []
    if kept:
        yield _packed(kept)


def _packed(rows: list[np.ndarray]) -> Ragged:
    return Ragged.from_lengths(np.concatenate(rows), np.asarray([len(row) for row in rows]))
