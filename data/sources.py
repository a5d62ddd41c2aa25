"""Where labelled rows come from: files of the user, a folder in the GLUE or CLUE layout, or a download.

Rows are checked here, once, when they are read; everything above trusts them. A fault names the file, the line
and what was expected.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from console import InputError
from data.download import Silent, keep_downloads_in, patiently, why
from data.sentences import split_sentences
from data.streams import generator
from data.tasks import Task
from files import cache_folder

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".txt")
# Other names of the splits: MNLI's, OCNLI's.
OTHER_NAMES = {"train": ("train.50k",), "dev": ("validation", "dev_matched"), "test": ("test_matched",)}
NO_LABEL = -1
SKIP_HINT = "mend the row or pass --skip_bad_rows"
# How a file of reading comprehension begins.
SQUAD = re.compile(r'\s*\{\s*("version"\s*:\s*"[^"]*"\s*,\s*)?"data"\s*:\s*\[')
# Longer lines are not read: they would fill the memory.
LONGEST_LINE = 64 << 20
# What a label cannot hold where predictions are written a row per line.
LINE_ENDS = "\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029\0"
# Numbers to predict are float32.
LARGEST_NUMBER = float(np.finfo(np.float32).max)
# The rows that are held out are the same for teacher and students of any seed.
HOLDOUT_SEED = 0
# Of one's own training rows, where no other rows are there to evaluate on.
DEV_SHARE = 0.1


class BadRow(Exception):
    """One row cannot be used; the message says why, without file and line."""


@dataclass(frozen=True)
class Rows:
    """Checked rows of one file.

    Attributes:
        texts: one list of strings a text column, each of length [rows].
        labels: label ids, int64, or numbers to predict, float32; shape [rows]; None for rows without labels.
        skipped: rows that could not be read and were left out.
    """

    texts: tuple[list[str], ...]
    labels: np.ndarray | None
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.texts[0])

    def take(self, rows: np.ndarray) -> Rows:
        """The named rows, in the order given; what was skipped in the file is still told."""
        texts = tuple([column[i] for i in rows] for column in self.texts)
        return Rows(texts, None if self.labels is None else self.labels[rows], self.skipped)


@dataclass(frozen=True)
class TaskData:
    """A task with its rows.

    Attributes:
        task: with its labels known.
        train: the rows to learn from.
        dev: the rows on which results are reported.
        validation: the rows on which checkpoints are chosen: dev, or a part held out of train.
        further_dev: further rows on which results are reported, by name.
        dev_from_train: whether dev is a part of the training file, for want of a file of its own.
    """

    task: Task
    train: Rows
    dev: Rows
    validation: Rows
    further_dev: Mapping[str, Rows] = field(default_factory=dict)
    dev_from_train: bool = False


def load_task_data(
    task: Task,
    data_dir: str | None = None,
    train_file: str | None = None,
    dev_file: str | None = None,
    skip_bad_rows: bool = False,
    holdout: float = 0.0,
    max_train_rows: int = 0,
    seed: int = HOLDOUT_SEED,
    dev_share: float = DEV_SHARE,
    cache: Path | None = None,
) -> TaskData:
    """Reads and checks the rows of a task.

    Args:
        task: names the columns.
        data_dir: folder with the task's files; downloaded when left out, and there is no ``train_file``.
        train_file: a user's own rows.
        dev_file: the same for dev; a part of ``train_file`` when left out.
        skip_bad_rows: leave out what cannot be read and count it.
        holdout: share of the training rows on which checkpoints are chosen.
        max_train_rows: that are learnt from; 0 means all.
        seed: of what is held out.
        dev_share: of ``train_file`` that becomes dev where there is no ``dev_file``.
        cache: the cache folder, which keeps downloads.

    Raises:
        InputError: a file, column, label or row is not as expected.
    """
    further = {}
    if train_file:
        train, task = read_rows(train_file, task, skip_bad_rows)
        if dev_file:
            dev, task = read_rows(dev_file, task, skip_bad_rows)
        else:
            train, dev = part_off(train, dev_share, generator(seed, "dev"), "--dev_share", not task.is_regression)
            # What was skipped in the file is told once.
            dev = replace(dev, skipped=0)
    elif data_dir:
        train, task = read_rows(find_split(data_dir, "train"), task, skip_bad_rows)
        dev, task = read_rows(find_split(data_dir, "dev"), task, skip_bad_rows)
        for name in task.further_dev:
            if has_split(data_dir, name):
                further[name] = read_rows(find_split(data_dir, name), task, skip_bad_rows)[0]
    else:
        train, task = download_rows(task, "train", cache)
        dev, task = download_rows(task, "dev_matched" if task.further_dev else "dev", cache)
        further = {name: download_rows(task, name, cache)[0] for name in task.further_dev}
    if train_file and task.language != "zh" and mostly_chinese(train):
        raise InputError(f"{train_file}: the texts are Chinese; pass --language zh")
    assert train.labels is not None and dev.labels is not None
    if len(train) == 0 or len(dev) == 0:
        raise InputError(f"task {task.name}: no rows left to {'train' if len(train) == 0 else 'evaluate'} on")
    train, held = hold_out(train, holdout, seed)
    if 0 < max_train_rows < len(train):
        train = train.take(np.sort(generator(seed, "max_train_rows").permutation(len(train))[:max_train_rows]))
    return TaskData(task, train, dev, held if held is not None else dev, further, bool(train_file and not dev_file))


def mostly_chinese(rows: Rows) -> bool:
    """Whether most letters of the first rows are Chinese characters."""
    letters = [char for column in rows.texts for text in column[:200] for char in text[:200] if char.isalpha()]
    return 2 * sum("\u4e00" <= char <= "\u9fff" for char in letters) > len(letters)


def hold_out(train: Rows, share: float, seed: int) -> tuple[Rows, Rows | None]:
    """The rows to learn from, and those on which checkpoints are chosen; see :func:`part_off`."""
    if share == 0:
        return train, None
    return part_off(train, share, generator(seed, "holdout"), "--holdout")


def part_off(
    rows: Rows, share: float, random: np.random.Generator, option: str, stratified: bool = False
) -> tuple[Rows, Rows]:
    """Parts a share of the rows from the others; rows of the same text stay on one side.

    The part depends on the texts and the generator alone, so that teacher and student part off the same rows.

    Args:
        rows: with labels.
        share: of them that is parted off.
        random: draws them.
        option: names the share in errors.
        stratified: whether each label gives its share.

    Returns:
        The others, and the part.

    Raises:
        InputError: one of the two would be empty.
    """
    groups: dict[tuple[str, ...], int] = {}
    keys = np.asarray(
        [
            groups.setdefault(tuple(text.strip().lower() for text in row), len(groups))
            for row in zip(*rows.texts, strict=True)
        ]
    )
    order = random.permutation(len(groups))
    strata = np.zeros(len(groups), np.int64)
    if stratified and rows.labels is not None:
        # That of a text with several labels is its last one.
        strata[keys] = rows.labels
    held = np.zeros(len(groups), bool)
    for stratum in np.unique(strata):
        members = order[strata[order] == stratum]
        # Of a label that is rare one row at least.
        least = 1 if stratified and len(members) > 1 else 0
        held[members[: max(least, round(share * len(members)))]] = True
    mask = held[keys]
    if not mask.any() or mask.all():
        raise InputError(f"{option} {share}: leaves no rows on one side of {len(rows)}; use another share")
    return rows.take(np.flatnonzero(~mask)), rows.take(np.flatnonzero(mask))


def has_split(folder: str | os.PathLike[str], split: str) -> bool:
    """Whether a data folder has a file of ``split``."""
    names = (split, *OTHER_NAMES.get(split, ()))
    return any((Path(folder) / f"{name}{suffix}").is_file() for name in names for suffix in SUFFIXES)


def find_split(folder: str | os.PathLike[str], split: str) -> Path:
    """The file of ``split`` in a data folder.

    Raises:
        InputError: the folder or the file is missing.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"--data_dir {folder}: no such folder")
    for name in (split, *OTHER_NAMES.get(split, ())):
        for suffix in SUFFIXES:
            if (root / f"{name}{suffix}").is_file():
                return root / f"{name}{suffix}"
    found = ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
    raise InputError(f"--data_dir {folder}: expected {split}.tsv, .csv, .jsonl or .json, found {found}")


def read_rows(
    path: str | os.PathLike[str],
    task: Task,
    skip_bad_rows: bool = False,
    labelled: bool = True,
    may_lack: bool = False,
    hint: str = SKIP_HINT,
) -> tuple[Rows, Task]:
    """Reads one file of a task.

    TSV knows no quoting (``"`` is a character); CSV has the usual one. A byte order mark and CRLF are accepted.

    Args:
        path: a .tsv, .csv, .jsonl (or CLUE's .json: one object a line) file; .txt is read as TSV, and needs no header
            when it has nothing but texts.
        task: names the columns; when its labels are not known yet, they are read from this file.
        skip_bad_rows: leave out what cannot be read and count it.
        labelled: whether a label is expected.
        may_lack: whether single rows may lack theirs, as those of a transfer set.
        hint: what to do about a bad row.

    Returns:
        The rows, and the task with its labels.

    Raises:
        InputError: names file, line and what was expected.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    texts: tuple[list[str], ...] = tuple([] for _ in task.text_columns)
    labels: list[str] = []
    skipped = 0
    for line, record in iterate_records(path, task, labelled):
        try:
            if isinstance(record, BadRow):
                raise record
            row = [checked_text(record[column], column) for column in task.text_columns]
            if labelled:
                given = record[task.label_column]
                label = "" if may_lack and not str(given).strip() else checked_label(given, task)
                if label in task.dropped_labels:
                    continue
                labels.append(label)
        except BadRow as fault:
            if not skip_bad_rows:
                raise InputError(f"{path}, line {line}: {fault}; {hint}") from None
            skipped += 1
            continue
        for column, text in zip(texts, row, strict=True):
            column.append(text)
    if not labelled:
        return Rows(texts, None, skipped), task
    assert task.kind != "span", "spans are read by a room of their own"
    if task.labels is None:
        task = task.with_labels(label_order(set(labels)))
        if len(task.labels or ()) < 2:
            raise InputError(
                f"{path}: expected at least two different labels in column {task.label_column!r}, found {labels[:1]}"
            )
    return Rows(texts, label_values(labels, task), skipped), task


def label_values(labels: Sequence[str], task: Task) -> np.ndarray:
    """Checked labels as ids, int64, or as numbers to predict, float32; an empty one is none."""
    if task.is_regression:
        return np.asarray([float(label or "nan") for label in labels], np.float32)
    ids = {"": NO_LABEL, **{label: i for i, label in enumerate(task.labels or ())}}
    return np.asarray([ids[label] for label in labels], np.int64)


def without_labels(count: int, like: np.ndarray | None = None) -> np.ndarray:
    """Labels of rows that have none: -1, or not-a-number beside numbers to predict."""
    if like is not None and like.dtype.kind == "f":
        return np.full(count, np.nan, like.dtype)
    return np.full(count, NO_LABEL, np.int64)


def label_order(labels: set[str]) -> list[str]:
    """Labels in the order of their ids: by value when all are whole numbers, else by spelling."""
    if all(re.fullmatch("-?[0-9]+", label) for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def checked_text(text: Any, column: str) -> str:
    """The text of a row without white space around it.

    Raises:
        BadRow: no string, empty, or with a NUL.
    """
    if not isinstance(text, str):
        raise BadRow(f"expected a text in column {column!r}, found {text!r}")
    if "\0" in text:
        raise BadRow(f"a NUL character in column {column!r}")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise BadRow(f"half a surrogate pair in column {column!r}: this is not Unicode text")
    text = text.strip()
    if not text:
        raise BadRow(f"the text in column {column!r} is empty")
    return text


def read_lines(path: str | os.PathLike[str], skip_bad_rows: bool = False, split_language: str | None = None) -> Rows:
    """Reads plain text, one row a line; blank lines are left out.

    Args:
        path: the file.
        skip_bad_rows: leave out what cannot be read and count it.
        split_language: cut the lines into sentences of this language; None leaves them whole.

    Raises:
        InputError: names file, line and what was expected.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    texts: list[str] = []
    skipped = 0
    for number, line in decoded_lines(path):
        try:
            if isinstance(line, BadRow):
                raise line
            if not line.strip():
                continue
            text = checked_text(line, "text")
        except BadRow as fault:
            if not skip_bad_rows:
                raise InputError(f"{path}, line {number}: {fault}; {SKIP_HINT}") from None
            skipped += 1
            continue
        texts.extend(split_sentences(text, split_language) if split_language else (text,))
    return Rows((texts,), None, skipped)


def read_unlabeled(paths: Sequence[str], task: Task, skip_bad_rows: bool = False, split: bool = False) -> Rows:
    """Reads the texts of a task from files without labels, all joined.

    Args:
        paths: .txt files with a row a line, the texts of a pair with a tab between; or tables with the task's text
            columns.
        task: names the columns.
        skip_bad_rows: leave out what cannot be read and count it.
        split: cut the lines of .txt files into sentences.

    Raises:
        InputError: names file, line and what was expected.
    """
    parts = []
    for path in paths:
        if Path(path).suffix == ".txt" and not task.is_pair:
            rows = read_lines(path, skip_bad_rows, task.language if split else None)
        else:
            rows, _ = read_rows(path, task, skip_bad_rows, labelled=False)
        if len(rows) == 0:
            raise InputError(f"--unlabeled_file {path}: no text in this file")
        parts.append(rows)
    return join_rows(parts)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """All rows of ``parts``, in order; rows without a label get the label -1 when others have one."""
    labels = None
    known = next((part.labels for part in parts if part.labels is not None), None)
    if known is not None:
        labels = np.concatenate(
            [without_labels(len(part), known) if part.labels is None else part.labels for part in parts]
        )
    columns = zip(*(part.texts for part in parts), strict=True)
    texts = tuple([text for column in group for text in column] for group in columns)
    return Rows(texts, labels, sum(part.skipped for part in parts))


def checked_label(label: Any, task: Task) -> str:
    """The label of a row as a text.

    Raises:
        BadRow: none, or not one of the task's.
    """
    kinds = (str, int, float) if task.is_regression else (str, int)
    label = str(label).strip() if isinstance(label, kinds) and not isinstance(label, bool) else ""
    if not label:
        raise BadRow(f"expected a label in column {task.label_column!r}, found none")
    if label in task.dropped_labels:
        return label
    if bad := next((char for char in label if char in LINE_ENDS or "\ud800" <= char <= "\udfff"), None):
        raise BadRow(f"the label {label!r} in column {task.label_column!r} holds {bad!r}, which tables cannot")
    if task.is_regression:
        with contextlib.suppress(ValueError):
            if abs(float(label)) <= LARGEST_NUMBER:
                return label
        raise BadRow(f"expected a number in column {task.label_column!r}, found {label!r}")
    if task.labels is not None and label not in task.labels:
        known = ", ".join(task.labels[:8]) + (", …" if len(task.labels) > 8 else "")
        raise BadRow(f"unknown label {label!r} in column {task.label_column!r}; expected one of {known}")
    return label


def iterate_records(
    path: Path, task: Task, labelled: bool = True, label_if_there: bool = False, others: bool = False
) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """Yields (line number, record) for every row of a file; a record carries the task's own column names.

    Args:
        path: the file.
        task: names the columns.
        labelled: whether a row must have a label.
        label_if_there: whether a record also carries one that it need not have.
        others: whether a record also carries what else the file tells of the row, such as its id.
    """
    records = _json_records if path.suffix in (".jsonl", ".json") else _table_records
    yield from records(path, task, labelled, label_if_there, others)


def decoded_lines(source: str | os.PathLike[str] | BinaryIO) -> Iterator[tuple[int, str | BadRow]]:
    """Yields (line number, text without line end); a line that is not UTF-8 comes as a :class:`BadRow`.

    Args:
        source: a path, or an open binary file.
    """
    path = source if isinstance(source, (str, os.PathLike)) else getattr(source, "path", "standard input")
    with open(source, "rb") if isinstance(source, (str, os.PathLike)) else contextlib.nullcontext(source) as file:
        for number, raw in enumerate(_bounded_lines(file), 1):
            if raw is None:
                yield number, BadRow(f"longer than {LONGEST_LINE >> 20} MB")
                continue
            if number == 1:
                if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise InputError(f"{path}: this is UTF-16; save it as UTF-8")
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                yield number, raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError as error:
                found = f"expected UTF-8, found byte 0x{raw[error.start]:02x} at position {error.start + 1}"
                yield number, BadRow(found + _if_gbk(raw))


def _if_gbk(raw: bytes) -> str:
    """A hint where a line reads well in the encoding that Chinese spreadsheets save in."""
    with contextlib.suppress(UnicodeDecodeError):
        if any("\u4e00" <= char <= "\u9fff" for char in raw.decode("gbk")):
            return "; this looks like GBK: iconv -f GBK -t UTF-8 FILE > NEW"
    return ""


def _bounded_lines(file: BinaryIO) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is too long to be read."""
    while line := file.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
            pass
        yield None


def _table_records(
    path: Path, task: Task, labelled: bool, label_if_there: bool, others: bool
) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    rows = _csv_rows(path) if path.suffix == ".csv" else _tsv_rows(path)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path}: the file is empty; expected a header row")
    number, header = first
    if isinstance(header, BadRow):
        raise InputError(f"{path}, line {number}: {header}")
    usual = _usual_header(header, task, labelled, path)
    if usual:
        rows = itertools.chain([first], rows)
        header = list(usual)
    has_label = label_if_there and any(name in header for name in task.aliases(task.label_column))
    where = {column: _find_column(header, task, column, path) for column in _needed(task, labelled or has_label)}
    if others:
        labels = task.aliases(task.label_column)
        # A column without a name is an index that a data frame has written.
        known = {number: name for number, name in enumerate(header) if name and name not in labels}
        where = {**{name: n for n, name in known.items() if n not in where.values()}, **where}
    for number, fields in rows:
        if isinstance(fields, BadRow):
            yield number, fields
        elif fields in ([], [""]):
            yield number, BadRow("the line is empty")
        elif len(fields) != len(header):
            yield (
                number,
                BadRow(f"expected {len(header)} fields as in the header ({', '.join(header)}), found {len(fields)}"),
            )
        else:
            yield number, {column: fields[index] for column, index in where.items()}


def _usual_header(fields: Sequence[str], task: Task, labelled: bool, path: Path) -> Sequence[str]:
    """The columns of a file that begins with its first row, as some published copies and plain text do; else none."""
    if all(any(name in fields for name in task.aliases(column)) for column in task.text_columns):
        return ()
    if task.header and len(fields) == len(task.header):
        return task.header
    only_texts = not labelled and len(fields) == len(task.text_columns) and (task.header or path.suffix == ".txt")
    return task.text_columns if only_texts else ()


def _tsv_rows(path: Path) -> Iterator[tuple[int, list[str] | BadRow]]:
    for number, line in decoded_lines(path):
        yield number, line if isinstance(line, BadRow) else line.split("\t")


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str] | BadRow]]:
    bad: dict[int, BadRow] = {}

    def lines() -> Iterator[str]:
        for number, line in decoded_lines(path):
            if isinstance(line, BadRow):
                bad[number] = line
                line = ""
            elif "\0" in line:
                bad[number] = BadRow("a NUL character")
                line = line.replace("\0", "")
            yield line + "\n"

    csv.field_size_limit(1 << 24)
    reader = csv.reader(lines(), strict=True)
    start = 1
    while True:
        try:
            fields: list[str] | BadRow | None = next(reader, None)
        except csv.Error as error:
            fields = BadRow(f"not valid CSV ({error})")
        if fields is None:
            return
        faults = [bad[n] for n in range(start, reader.line_num + 1) if n in bad]
        yield start, faults[0] if faults else fields
        start = reader.line_num + 1


def _json_records(
    path: Path, task: Task, labelled: bool, label_if_there: bool, others: bool
) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    for number, line in decoded_lines(path):
        if isinstance(line, BadRow):
            yield number, line
            continue
        if number == 1:
            _refuse_one_document(path, line)
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            yield number, BadRow("expected one JSON object a line")
            continue
        if not isinstance(record, dict):
            yield number, BadRow(f"expected a JSON object, found {type(record).__name__}")
            continue
        has_label = label_if_there and any(name in record for name in task.aliases(task.label_column))
        row = _renamed(record, task, labelled or has_label)
        if others and not isinstance(row, BadRow):
            used = {next(name for name in task.aliases(column) if name in record) for column in task.text_columns}
            used.update(("", *task.aliases(task.label_column)))
            row = {**{name: value for name, value in record.items() if name not in used}, **row}
        yield number, row


def _refuse_one_document(path: Path, line: str) -> None:
    """Refuses a file that is one JSON document instead of one object a line: leaving out bad rows would lead nowhere.

    Args:
        path: the file.
        line: its first one.

    Raises:
        InputError: names what it is, and the remedy.
    """
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        # A nested document may be one line of any length: its beginning tells.
        beginning = file.read(4096)
    if SQUAD.match(beginning):
        raise InputError(f"{path}: questions on passages, in the layout of SQuAD; finetune.run_mrc reads these")
    what = "array" if line.lstrip().startswith("[") else "object over several lines" if line.strip() == "{" else None
    if what is not None:
        raise InputError(
            f"{path}: a JSON {what}; write one object a line, as pandas' to_json(…, orient='records', lines=True) does"
        )


def _renamed(record: dict[str, Any], task: Task, labelled: bool) -> dict[str, Any] | BadRow:
    row = {}
    for column in _needed(task, labelled):
        name = next((alias for alias in task.aliases(column) if alias in record), None)
        if name is None:
            return BadRow(f"missing field {column!r}; found {', '.join(map(str, record)) or 'none'}")
        row[column] = record[name]
    return row


def _needed(task: Task, labelled: bool) -> Sequence[str]:
    return (*task.text_columns, task.label_column) if labelled else task.text_columns


def _find_column(header: Sequence[str], task: Task, column: str, path: Path) -> int:
    for name in task.aliases(column):
        if name in header:
            return header.index(name)
    raise InputError(f"{path}, line 1: expected a column {column!r}, the header has {', '.join(map(repr, header))}")


def download_rows(task: Task, split: str, cache: Path | None = None) -> tuple[Rows, Task]:
    """Fetches a split through PaddleNLP.

    Args:
        task: names its download.
        split: of the task.
        cache: the cache folder, which keeps the files; that of the user when left out.

    Returns:
        The rows, and the task with its labels.

    Raises:
        InputError: the task has no download, or it cannot be reached from here.
    """
    if task.hub is None:
        raise InputError(f"task {task.name} has no download: give --data_dir, or --train_file and --dev_file")
    keep_downloads_in(cache or cache_folder())
    try:
        records = patiently(lambda: _load_dataset(task.hub or (), split), f"task {task.name}: the download")
    except Silent as silence:
        raise InputError(f"{silence}: --data_dir") from None
    except Exception as error:
        columns = ", ".join((*task.text_columns, task.label_column))
        raise InputError(
            f"task {task.name}: the download through PaddleNLP failed ({why(error)}); without a network, name a folder "
            f"with train.tsv and dev.tsv (columns {columns}), fetched elsewhere, with --data_dir"
        ) from error
    names = getattr(records, "label_list", None)
    if task.labels is None:
        found = map(str, names) if names else label_order({str(record.get(task.label_column)) for record in records})
        task = task.with_labels(list(found))
    texts: tuple[list[str], ...] = tuple([] for _ in task.text_columns)
    labels = []
    for number, record in enumerate(records, 1):
        row = _renamed(record, task, labelled=True)
        try:
            if isinstance(row, BadRow):
                raise row
            label = row[task.label_column]
            # PaddleNLP gives the position in its own list, whose order need not be ours.
            if isinstance(label, int) and names:
                label = str(names[label])
            label = checked_label(label, task)
            if label in task.dropped_labels:
                continue
            labels.append(label)
            for column, name in zip(texts, task.text_columns, strict=True):
                column.append(checked_text(row[name], name))
        except BadRow as fault:
            raise InputError(f"{task.name} {split} as downloaded, row {number}: {fault}") from None
    return Rows(texts, label_values(labels, task)), task


def _load_dataset(hub: Sequence[str], split: str) -> Any:
    from paddlenlp.datasets import load_dataset

    return load_dataset(*hub, splits=split)


def describe(data: TaskData) -> str:
    """One line on the size of a task's data, with what was skipped."""
    values = np.asarray(data.train.labels)
    if data.task.is_regression:
        labels = f"from {values.min():g} to {values.max():g}"
    else:
        counts = Counter(values.tolist())
        labels = ", ".join(f"{name} {counts[i]:,}" for i, name in enumerate(data.task.labels or ()) if i < 10)
    skipped = data.train.skipped + data.dev.skipped
    held = f", {len(data.validation):,} held out" if data.validation is not data.dev else ""
    dev = f"{len(data.dev):,} dev" + (" (a part of the training file)" if data.dev_from_train else "")
    return f"{data.task.name}: {len(data.train):,} train ({labels}){held}, {dev}" + (
        f"; {skipped:,} bad rows skipped" if skipped else ""
    )
