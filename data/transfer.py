"""Transfer sets: the rows a student learns from, as units that every tokenizer can read.

A transfer set is a store. Its columns ``text_0`` (and ``text_1`` for pairs) hold unit ids, ``label`` the label id
of an original row or -1; the units themselves (word pieces or words) stand in the metadata. Student and teacher
views of the same units come from :meth:`TransferSet.encode`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from console import InputError, ProgressBar, say
from data.augment import Augmentation, augment_columns, row_hashes
from data.columns import Columns
from data.part_of_speech import make_tagger, tag_rows
from data.ragged import Ragged
from data.sources import NO_LABEL, SUFFIXES, Rows, decoded_lines, read_lines, read_rows, without_labels
from data.store import MANIFEST, Store, StoreDamaged, StoreWriter
from data.streams import generator
from data.tasks import Task
from data.tokenization import MASK, Tokenizer, WordPieceTokenizer, joined_pieces, joined_words, tokenizer_identity
from files import check_new_file, check_new_folder, new_file, publish_folder, read_json

BLOCK = 8192
KIND = "transfer-set"
UNITS = ("piece", "word", "bert_word", "text")


@dataclass(frozen=True)
class TransferSet:
    """Rows to learn from.

    Attributes:
        units: the strings behind the unit ids.
        unit: ``piece`` (WordPiece pieces), ``word``, ``bert_word`` (whose Chinese characters stand one by one), or
            ``text`` (whole ones, which nothing is lost of).
        columns: unit ids, one :class:`Ragged` per text column.
        labels: label ids, -1 for rows without one, int64, or numbers, not-a-number without; shape [rows].
        identity: changes whenever the rows change; for cache keys.
    """

    units: list[str]
    unit: str
    columns: tuple[Ragged, ...]
    labels: np.ndarray
    identity: str

    def __len__(self) -> int:
        return len(self.labels)

    def encode(self, tokenizer: Tokenizer) -> tuple[Ragged, ...]:
        """The rows as ids of ``tokenizer``, without special tokens."""
        if self.unit == "piece" and isinstance(tokenizer, WordPieceTokenizer) and tokenizer.vocab == self.units:
            return self.columns
        # Who reads words finds none in single characters.
        if self.unit == "piece" or (self.unit == "bert_word" and not isinstance(tokenizer, WordPieceTokenizer)):
            return tuple(tokenizer.encode(self._joined(column)) for column in self.columns)
        pieces = (tokenizer.encode if self.unit == "text" else tokenizer.encode_words)(self.units)
        return tuple(_through(column, pieces) for column in self.columns)

    def texts(self, start: int, stop: int) -> Iterator[tuple[str, ...]]:
        """The rows in [start, stop) as text."""
        blocks = [column.slice(start, stop) for column in self.columns]
        yield from zip(*(self._joined(block) for block in blocks), strict=True)

    def _joined(self, rows: Ragged) -> list[str]:
        join = {"piece": joined_pieces, "bert_word": joined_words}.get(self.unit, " ".join)
        return [join([self.units[i] for i in rows[n]]) for n in range(len(rows))]


def _through(rows: Ragged, table: Ragged) -> Ragged:
    """Replaces every id by the row of ``table`` that it names."""
    rows = rows.compact()
    expanded = table.take(rows.values)
    return Ragged(expanded.values, expanded.offsets[rows.offsets])


def build_transfer_set(
    rows: Rows, tokenizer: Tokenizer, how: Augmentation, seed: int, folder: str | os.PathLike[str], whole_words: bool
) -> TransferSet:
    """Writes the original rows and ``how.n_iter`` augmented copies of each, in constant memory.

    Augmented rows that stand in the set already are dropped; the originals are all kept. A block's random stream
    depends on the seed, the copy and the block alone.

    Args:
        rows: labelled originals.
        tokenizer: gives the units: pieces, or with ``whole_words`` words.
        how: the augmentation.
        seed: the seed of the run.
        folder: where the store goes; an existing complete one is read instead of being built again.
        whole_words: whether the unit is the word; always true for tokenizers without pieces, and with ``p_pos``.
    """
    folder = Path(folder)
    existing = _read_if_complete(folder)
    if existing is not None:
        return existing
    units, columns, unit = _units(rows, tokenizer, whole_words or how.p_pos > 0)
    mask_id = units.index(MASK)
    tagged = None
    if how.p_pos and how.n_iter:
        language = "zh" if tokenizer.kind == "jieba" else "en"
        tagged = tag_rows(columns, units, make_tagger(how.tagger, language, how.spacy_model))

    def change(copy: int, start: int, block: tuple[Ragged, ...], rng: np.random.Generator) -> tuple[Ragged, ...]:
        tags = tagged.slice(start, start + BLOCK) if tagged else ()
        return augment_columns(block, copy, how, mask_id, rng, tagged, tags)

    identity = transfer_key(rows, tokenizer, how, seed, whole_words)
    return write_transfer_set(folder, units, unit, identity, columns, rows.labels, how.n_iter, change, seed)


# Makes one copy of a block of rows: the copy's number, the block's first row, its columns, its random stream.
Change = Callable[[int, int, tuple[Ragged, ...], np.random.Generator], tuple[Ragged, ...]]


def write_transfer_set(
    folder: str | os.PathLike[str],
    units: Sequence[str],
    unit: str,
    identity: str,
    columns: tuple[Ragged, ...],
    labels: np.ndarray | None,
    copies: int,
    change: Change,
    seed: int,
) -> TransferSet:
    """Writes rows and changed copies of each, block by block; copies that stand in the set already are dropped.

    Memory holds a block, and eight bytes and their place in a set for every row.

    Args:
        folder: where the store goes.
        units: the strings behind the unit ids.
        unit, identity: see :class:`TransferSet`.
        columns: unit ids of the rows, which are all kept.
        labels: of the rows, or None.
        copies: of each row.
        change: makes a copy of a block.
        seed: of the run; a block's random stream depends on it, the copy and the block alone.
    """
    seen: set[int] = set()
    count = len(columns[0])
    metadata = {"kind": KIND, "unit": unit, "units": list(units), "identity": identity}
    bar = ProgressBar("transfer set", count * (1 + copies))
    with StoreWriter(folder, metadata) as writer:
        labels = labels if labels is not None else without_labels(count)
        for start in range(0, count, BLOCK):
            block = tuple(column.slice(start, min(start + BLOCK, count)).compact() for column in columns)
            seen.update(row_hashes(block).tolist())
            writer.append(label=labels[start : start + BLOCK], **_named(block))
            bar.advance(len(block[0]))
        for copy in range(copies):
            for start in range(0, count, BLOCK):
                block = tuple(column.slice(start, min(start + BLOCK, count)) for column in columns)
                changed = change(copy, start, block, generator(seed, "augment", copy, start))
                new = _unseen(row_hashes(changed), seen)
                kept = tuple(column.take(new) for column in changed)
                writer.append(label=without_labels(len(new), labels), **_named(kept))
                bar.advance(len(block[0]))
    bar.close()
    return load_transfer_set(folder)


def _unseen(hashes: np.ndarray, seen: set[int]) -> np.ndarray:
    new = []
    for row, value in enumerate(hashes.tolist()):
        if value not in seen:
            seen.add(value)
            new.append(row)
    return np.asarray(new, np.int64)


def _named(columns: Sequence[Ragged]) -> dict[str, Ragged]:
    return {f"text_{number}": column for number, column in enumerate(columns)}


def _units(rows: Rows, tokenizer: Tokenizer | None, whole_words: bool) -> tuple[list[str], tuple[Ragged, ...], str]:
    """The units of the rows: their strings, the rows as unit ids, and the kind of unit."""
    if isinstance(tokenizer, WordPieceTokenizer) and not whole_words:
        return tokenizer.vocab, tuple(tokenizer.encode(column) for column in rows.texts), "piece"
    ids: dict[str, int] = {} if tokenizer is None else {MASK: 0}
    columns = tuple(
        Ragged.from_rows(
            [ids.setdefault(word, len(ids)) for word in words]
            for words in (([text] for text in column) if tokenizer is None else tokenizer.words_of(column))
        )
        for column in rows.texts
    )
    return list(ids), columns, "text" if tokenizer is None else "word"


def transfer_key(rows: Rows, tokenizer: Tokenizer | None, how: Augmentation, seed: int, whole_words: bool) -> str:
    """Names a transfer set: changes with the rows, the units, the augmentation and the seed."""
    digest = hashlib.sha256()
    settings = asdict(how)
    if not how.p_pos:
        del settings["tagger"], settings["spacy_model"]
    head = {"version": 2, "how": settings, "seed": seed, "words": whole_words}
    head |= tokenizer_identity(tokenizer) if tokenizer else {}
    digest.update(json.dumps(head, sort_keys=True).encode())
    for column in rows.texts:
        for text in column:
            digest.update(text.encode())
            digest.update(b"\0")
    if rows.labels is not None:
        digest.update(rows.labels.tobytes())
    return digest.hexdigest()[:24]


def load_transfer_set(folder: str | os.PathLike[str]) -> TransferSet:
    """Reads a transfer set.

    Raises:
        InputError: damaged, or another kind of store.
    """
    try:
        store = Store(folder)
    except StoreDamaged as error:
        raise InputError(f"no usable transfer set: {error}") from error
    meta = store.metadata
    if meta.get("kind") != "transfer-set":
        raise InputError(f"{folder}: expected a transfer set, found a store of kind {meta.get('kind')!r}")
    try:
        columns = tuple(_ragged(store, name) for name in store.columns if name.startswith("text_"))
        labels = np.asarray(store["label"])
        transfer = TransferSet(list(meta["units"]), meta["unit"], columns, labels, str(meta["identity"]))
        _check_units(transfer)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"no usable transfer set: {folder}: {error}") from error
    return transfer


def _ragged(store: Store, name: str) -> Ragged:
    column = store[name]
    if not isinstance(column, Ragged) or column.values.ndim != 1 or column.values.dtype.kind not in "iu":
        raise ValueError(f"column {name}: expected ids of units, rows of different lengths")
    return column


def _check_units(transfer: TransferSet) -> None:
    """Refuses what :func:`build_transfer_set` never writes; ids are used as places in a list."""
    if transfer.unit not in UNITS or not all(isinstance(unit, str) for unit in transfer.units):
        raise ValueError(f"expected units that are texts: {', '.join(UNITS)}")
    if not transfer.columns or len(transfer.columns) > 2 or transfer.labels.ndim != 1:
        raise ValueError("expected one or two columns of texts, and a label per row")
    for column in transfer.columns:
        if len(column.values) and not 0 <= int(column.values.min()) <= int(column.values.max()) < len(transfer.units):
            raise ValueError(f"unit ids from {column.values.min()} to {column.values.max()}, of {len(transfer.units)}")


def _read_if_complete(folder: Path) -> TransferSet | None:
    try:
        return load_transfer_set(folder)
    except InputError:
        return None


def transfer_set_from_path(
    path: str | os.PathLike[str],
    task: Task,
    tokenizer: Tokenizer | None,
    whole_words: bool,
    skip_bad_rows: bool = False,
) -> TransferSet:
    """Reads a transfer set that a user names: a store, a table with the task's text columns, or plain text lines.

    A table may carry the task's label column; rows of plain text and of tables without it have no labels.

    Raises:
        InputError: nothing usable there.
    """
    path = Path(path)
    if path.is_dir():
        return _checked(load_transfer_set(path), task, path)
    if not path.is_file():
        raise InputError(f"--transfer_set {path}: no such file or folder")
    if path.suffix == ".txt" and not task.is_pair:
        rows = read_lines(path, skip_bad_rows)
    else:
        rows, _ = read_rows(path, task, skip_bad_rows, labelled=_has_label(path, task), may_lack=True)
    if len(rows) == 0:
        raise InputError(f"--transfer_set {path}: no text in this file")
    if rows.skipped:
        say(f"{path}: {rows.skipped:,} bad rows skipped")
    return in_memory(rows, tokenizer, whole_words)


def _checked(transfer: TransferSet, task: Task, path: Path) -> TransferSet:
    """Refuses a transfer set that was made for rows or labels of another kind."""
    expected, found = len(task.text_columns), len(transfer.columns)
    if expected != found:
        raise InputError(f"--transfer_set {path}: its rows have {found} text(s), those of {task.name} have {expected}")
    if task.labels and len(transfer) and transfer.labels.max() >= len(task.labels):
        raise InputError(
            f"--transfer_set {path}: it has a label number {int(transfer.labels.max())}, {task.name} has "
            f"{len(task.labels)} labels"
        )
    return transfer


def in_memory(rows: Rows, tokenizer: Tokenizer | None, whole_words: bool = False) -> TransferSet:
    """Rows as they are, for a teacher to label; nothing is written.

    Args:
        rows: with labels or without.
        tokenizer: gives the units; None keeps the texts, for models that read them in different ways.
        whole_words: see :func:`build_transfer_set`.
    """
    units, columns, unit = _units(rows, tokenizer, whole_words)
    labels = rows.labels if rows.labels is not None else without_labels(len(rows))
    identity = transfer_key(rows, tokenizer, Augmentation(n_iter=0), 0, whole_words)
    return TransferSet(units, unit, columns, labels, identity)


def learning_columns(sets: Sequence[TransferSet], parts: Sequence[Columns], is_regression: bool) -> tuple[Columns, int]:
    """Rows to learn from: the first set, and what the others add to it, with their labels.

    Args:
        sets: give the labels.
        parts: the same rows as a model reads them, with whatever else is known of them.
        is_regression: labels are numbers: not-a-number where there is none, instead of -1.

    Returns:
        All columns, and how many rows of the further sets were not in the first.
    """
    labelled = []
    for rows, columns in zip(sets, parts, strict=True):
        numbers = is_regression and not np.issubdtype(rows.labels.dtype, np.floating)
        labelled.append(columns.with_(labels=np.full(len(rows), np.nan, np.float32) if numbers else rows.labels))
    known = row_hashes((labelled[0]["input_ids"],))  # type: ignore[arg-type]
    new = [
        part.take(np.flatnonzero(~np.isin(row_hashes((part["input_ids"],)), known)))  # type: ignore[arg-type]
        for part in labelled[1:]
    ]
    return Columns.concat([labelled[0], *new]), sum(part.rows for part in new)


def with_labels_only(columns: Columns) -> Columns:
    """Those rows that have a label."""
    return columns.take(np.flatnonzero(labelled_rows(columns)))


def labelled_rows(columns: Columns) -> np.ndarray:
    """Whether each row has a label; bool, [rows]."""
    labels = np.asarray(columns["labels"])
    return np.isfinite(labels) if labels.dtype.kind == "f" else labels >= 0


def check_target(output_file: str, overwrite: bool) -> Path:
    """Where a transfer set is to be written: a name that ends in ``.tsv``, or that of a folder.

    Raises:
        InputError: it cannot be written there, or something else is there.
    """
    target = Path(output_file)
    as_table = target.suffix == ".tsv"
    if target.suffix in SUFFIXES and not as_table:
        raise InputError(f"--output_file {target}: expected a name that ends in .tsv, or the name of a folder")
    if target.exists() and not overwrite:
        raise InputError(f"--output_file {target} exists; pass --overwrite or choose another name")
    if target.exists() and target.is_dir() == as_table:
        raise InputError(f"--output_file {target}: a table and a folder cannot replace each other")
    if target.is_dir() and any(target.iterdir()) and not _is_transfer_set(target):
        raise InputError(f"--output_file {target}: holds something else than a transfer set; choose another")
    (check_new_file if as_table else check_new_folder)(target, "--output_file")
    return target


def _is_transfer_set(folder: Path) -> bool:
    """Whether a folder is a transfer set, damaged or not, and holds nothing else."""
    try:
        manifest = read_json(folder / MANIFEST)
        files = {file["name"] for column in manifest["columns"].values() for file in column["files"].values()}
        return manifest["metadata"]["kind"] == KIND and {path.name for path in folder.iterdir()} <= {MANIFEST, *files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def publish_transfer_set(made: TransferSet, folder: Path, task: Task, target: Path) -> None:
    """Puts a transfer set where a user wants it: ``folder``, its store, moves there, or a table is written."""
    if target.suffix == ".tsv":
        write_table(made, task, target)
    else:
        publish_folder(folder, target)


def write_table(transfer: TransferSet, task: Task, path: str | os.PathLike[str]) -> None:
    """Writes a transfer set as TSV: the task's text columns and its label column, empty where there is none."""
    names = [] if task.is_regression else list(task.labels or ())

    def label(value: float) -> str:
        if value == NO_LABEL or value != value:
            return ""
        return names[int(value)] if names else f"{value:g}"

    with new_file(path) as file:
        file.write("\t".join([*task.text_columns, task.label_column]) + "\n")
        for start in range(0, len(transfer), BLOCK):
            stop = min(start + BLOCK, len(transfer))
            for texts, value in zip(transfer.texts(start, stop), transfer.labels[start:stop].tolist(), strict=True):
                file.write("\t".join([*texts, label(value)]) + "\n")


def _has_label(path: Path, task: Task) -> bool:
    if path.suffix in (".jsonl", ".json"):
        header = _first_fields(path)
    else:
        first = str(next(decoded_lines(path), (1, ""))[1])
        header = first.replace('"', "").split("," if path.suffix == ".csv" else "\t")
    return any(name in header for name in task.aliases(task.label_column))


def _first_fields(path: Path) -> list[str]:
    for _, line in decoded_lines(path):
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line) if isinstance(line, str) else None
            if isinstance(record, dict):
                return list(record)
    return []
