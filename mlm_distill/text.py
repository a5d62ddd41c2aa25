"""What a training reads: the instances of a corpus, shard by shard from the disk, and those that judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from console import InputError
from data.columns import Columns, JoinedColumns
from data.instances import Masker
from data.ragged import Ragged
from data.sources import HOLDOUT_SEED
from data.store import Store
from data.streams import generator
from files import read_json
from mlm_distill.folder import (
    CORPUS,
    HELD_OUT,
    IDS,
    PLACES,
    PROBABILITIES,
    SHARD,
    TEACHER_OUTPUTS,
    ShardFolder,
    check_reads,
    corpus_of,
)
from mlm_distill.options import CorpusOptions, RunDistillOptions
from models.folder import LoadedModel
from models.weights import folder_of

INPUTS = ("input_ids", "token_type_ids")
TARGETS, STARTS, BEST = "masked_ids", "word_starts", "teacher_best"


@dataclass(frozen=True)
class Text:
    """Instances to learn from, and to judge by.

    Attributes:
        rows: ``input_ids`` and ``token_type_ids``, and either ``masked_positions`` and ``masked_ids`` or
            ``word_starts``; of stored answers also ``teacher_ids`` and ``teacher_probs``.
        held_out: always with masks; of stored answers also ``teacher_best``, the likeliest piece of every place.
        made_from: what the corpus was made from.
        record: what all of it was made from: the corpus, stored answers, and what judges.
        hides: hides tokens of instances whose masks are not stored; None where they are.
    """

    rows: Columns
    held_out: Columns
    made_from: Mapping[str, Any]
    record: Mapping[str, Any]
    hides: Hides | None


class Hides:
    """Hides other tokens of an instance in every pass; for :class:`data.batches.Batches`.

    Args:
        masker: of the vocabulary.
        seed: of the run.
    """

    def __init__(self, masker: Masker, seed: int) -> None:
        self._masker, self._seed = masker, seed

    def __call__(self, columns: Columns, rows: np.ndarray, epoch: int) -> Columns:
        """``word_starts`` become ``masked_positions`` and ``masked_ids``; drawn by batch and epoch."""
        ids, starts = columns["input_ids"], columns[STARTS]
        assert isinstance(ids, Ragged) and isinstance(starts, Ragged)
        # No two batches of an epoch begin with the same row.
        rng = generator(self._seed, "masks", epoch, int(rows[0]))
        hidden, positions, targets = self._masker(ids, starts, rng)
        kept = {name: column for name, column in columns.items() if name != STARTS}
        return Columns({**kept, "input_ids": hidden, PLACES: positions, TARGETS: targets})


def folder_of_instances(name: str, option: str) -> ShardFolder:
    """A corpus, or one with a teacher's answers.

    Raises:
        InputError: neither.
    """
    path = Path(name)
    kind = TEACHER_OUTPUTS if (path / TEACHER_OUTPUTS.record).is_file() else CORPUS
    found = ShardFolder(path, kind, option)
    found.finished()
    return found


def read_text(options: RunDistillOptions, student: LoadedModel) -> Text:
    """The instances that options name.

    Args:
        options: of the run.
        student: reads them.

    Raises:
        InputError: no such folder, unfinished or damaged, not what the options ask for, or not what the student reads.
    """
    folder = folder_of_instances(str(options.input_file), "--input_file")
    record = folder.finished()
    has_answers = folder.kind == TEACHER_OUTPUTS
    made_from = corpus_of(folder.kind, record)
    known = made_from["options"]
    check_reads(student, made_from, f"--student_model {options.student_model or options.student_config}")
    if options.teacher == "stored" and options.do_train:
        if not has_answers:
            raise InputError(
                f"--input_file {folder.path}: holds no answers of a teacher; make them with "
                f"{TEACHER_OUTPUTS.script}, or give --teacher (none learns what the text says)"
            )
        kept = record["made_from"]["truncation_factor"]
        if options.truncation_factor > kept:
            raise InputError(f"--truncation_factor {options.truncation_factor}: {folder.path} holds {kept} of a place")
    is_dynamic = known["dynamic_masking"]
    if not is_dynamic:
        for name in ("max_predictions_per_seq", "masked_lm_prob", "do_whole_word_mask"):
            if name in options.given and getattr(options, name) != known[name]:
                raise InputError(f"--{name}: {folder.path} holds masks, made with {known[name]}")
    if options.max_seq_length is not None and known["max_seq_length"] > options.max_seq_length:
        raise InputError(
            f"--max_seq_length {options.max_seq_length}: the instances were made with {known['max_seq_length']}"
        )
    wanted = [*INPUTS, *((STARTS,) if is_dynamic else (PLACES, TARGETS))]
    truncation = options.truncation_factor if options.teacher == "stored" and has_answers else 0
    rows = [_columns(store, wanted, truncation) for store in folder.stores(SHARD, verify=True)]
    if not sum(part.rows for part in rows):
        raise InputError(f"--input_file {folder.path}: no instances")
    held_out, judged_from = _held_out(options, folder, student)
    return Text(
        JoinedColumns(rows),
        held_out,
        made_from,
        {"learnt": record["made_from"], "judged": judged_from},
        Hides(Masker(options.masking(), student.tokenizer), options.seed) if is_dynamic else None,
    )


def _columns(store: Store, names: list[str], truncation: int = 0) -> Columns:
    columns = Columns.read(store)
    found = {name: columns[name] for name in names}
    if truncation:
        for name in (IDS, PROBABILITIES):
            column = columns[name]
            assert isinstance(column, Ragged)
            found[name] = Ragged(column.values[:, :truncation], column.offsets)
    return Columns(found)


def _held_out(
    options: RunDistillOptions, source: ShardFolder, student: LoadedModel
) -> tuple[Columns, Mapping[str, Any]]:
    """The instances that judge, of another folder or of what was held out of the text; and what they were made from."""
    folder, part = source, HELD_OUT
    if options.eval_file:
        folder, part = folder_of_instances(options.eval_file, "--eval_file"), SHARD
        corpus = corpus_of(folder.kind, folder.finished())
        check_reads(student, corpus, f"--eval_file {options.eval_file}, which the student reads")
    found, made_from = [], folder.finished()["made_from"]
    for store in folder.stores(part, verify=True):
        if PLACES not in store.columns:
            raise InputError(f"{folder.option} {folder.path}: made with --dynamic_masking: nothing is hidden in it")
        columns = Columns.read(store)
        chosen = {name: columns[name] for name in (*INPUTS, PLACES, TARGETS)}
        if IDS in columns:
            ids = columns[IDS]
            assert isinstance(ids, Ragged)
            chosen[BEST] = Ragged(ids.values[:, 0].astype(np.int32), ids.offsets)
        found.append(Columns(chosen))
    rows = JoinedColumns(found)
    if not rows.rows:
        raise InputError(
            f"{folder.option} {folder.path}: no text was held out; make it with --held_out above 0, or give --eval_file"
        )
    count = min(rows.rows, options.eval_rows or rows.rows)
    # Runs of other seeds are judged by the same.
    drawn = generator(HOLDOUT_SEED, "evaluation").permutation(rows.rows)[:count]
    return rows.take(np.sort(drawn)), made_from


def corpus_of_files(options: RunDistillOptions, student: LoadedModel) -> CorpusOptions:
    """What makes the corpus of ``--data_files_json``.

    Args:
        options: of the run.
        student: says how long an instance may be.

    Raises:
        InputError: not such a file.
    """
    path = Path(str(options.data_files_json))
    references: list[str] = []
    try:
        files = read_json(path)["train"]
        if isinstance(files, dict):
            # As MiniRBT's own is laid out.
            references = _names(files.get("train_ref_files") or [], "train_ref_files")
            files = files["train_files"]
        names = _names(files, "train")
        if not names:
            raise ValueError("train: expected a list of files")
    except FileNotFoundError:
        raise InputError(f"--data_files_json {path}: no such file") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'--data_files_json {path}: expected {{"train": [text files]}}, or {{"train": {{"train_files": [text '
            f'files], "train_ref_files": [references]}}}} ({type(error).__name__}: {error})'
        ) from error
    longest = student.model.config.max_position_embeddings
    if options.max_seq_length and options.max_seq_length > longest:
        raise InputError(f"--max_seq_length {options.max_seq_length}: the student has {longest} positions")
    beside = Path(str(options.student_config)).parent / "vocab.txt"
    if options.student_model:
        vocabulary = {"model_name": folder_of(options.student_model, "--student_model")}
    elif beside.is_file():
        vocabulary = {"vocab_file": str(beside)}
    else:
        vocabulary = {"model_name": folder_of(options.teacher, "--teacher")}
    return CorpusOptions(
        input_dir=[_place(path, name) for name in names],
        reference_file=tuple(_place(path, name) for name in references),
        output_dir=str(options.data_cache_dir),
        language=options.language,
        max_seq_length=options.max_seq_length or min(512, longest),
        dynamic_masking=True,
        max_workers=options.preprocessing_num_workers,
        cache_dir=options.cache_dir,
        **vocabulary,
    )


def _names(files: Any, what: str) -> list[str]:
    names = [files] if isinstance(files, str) else files
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{what}: expected a list of files")
    return names


def _place(beside: Path, name: str) -> str:
    """Where a file is that another one names: beside that, or as published from where the command is given."""
    return str(beside.parent / name if (beside.parent / name).exists() or not Path(name).exists() else name)


def masked_places(batch: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Where tokens are hidden in a batch.

    Returns:
        The places counted through all tokens of the batch, int64, [places]; and which entries of
        ``masked_positions`` they are, bool, [rows, most]: the first token of a row, [CLS], is never hidden, so that 0
        is filling.
    """
    there = batch[PLACES] > 0
    rows = np.nonzero(there)[0]
    return rows * batch["input_ids"].shape[1] + batch[PLACES][there], there
