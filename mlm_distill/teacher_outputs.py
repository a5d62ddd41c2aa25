"""What a masked language model expects at every hidden place of a corpus: the most likely pieces, kept on the disk.

Probabilities are those of the whole vocabulary, of which the largest are kept and not scaled up again; half-precision
numbers beside 16-bit ids: 512 bytes a place for 128 of them. Each shard of the corpus becomes a shard here, in parts
that a killed run finds again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from console import InputError, ProgressBar, say
from core.distributed import choose_device
from core.masked_lm import MaskedLM, largest, load_masked_lm
from core.teacher import TOKENS_PER_BATCH, token_parts, weights_checksum
from data.columns import Columns
from data.ragged import Ragged
from data.store import Store, StoreDamaged, StoreWriter
from files import check_new_folder, clear_folder, read_json, scratch_folder, write_json
from mlm_distill.corpus import finished_record, process_place, tokenizer_checksum
from mlm_distill.options import TeacherOutputOptions
from mlm_distill.shards import shard_folder

RECORD, FORMAT = "teacher_outputs.json", "paddledistill-masked-outputs-1"
# Rows of a part.
PART_ROWS = 1024
PLACES, IDS, PROBABILITIES = "masked_positions", "teacher_ids", "teacher_probs"


def create(options: TeacherOutputOptions) -> dict[str, Any]:
    """Asks the teacher about all shards that are not there yet; under a launcher about this process's share of them.

    Returns:
        What ``teacher_outputs.json`` holds.

    Raises:
        InputError: corpus, teacher or output cannot be used.
    """
    source, target = Path(options.input_file), Path(options.output_dir)
    corpus = finished_record(source, "--input_file")
    _check_corpus(options, corpus)
    choose_device(options.device)
    teacher = load_masked_lm(str(options.teacher_dir), "--teacher_dir", 0, options.cache())
    if tokenizer_checksum(teacher.tokenizer) != corpus["made_from"]["tokenizer"]:
        raise InputError(f"--teacher_dir {options.teacher_dir}: the corpus was made with another vocabulary")
    longest = int(corpus["made_from"]["options"]["max_seq_length"])
    if longest > teacher.model.config.max_position_embeddings:
        raise InputError(
            f"--teacher_dir {options.teacher_dir}: has {teacher.model.config.max_position_embeddings} positions, the "
            f"instances are up to {longest} tokens long"
        )
    check_new_folder(target, "--output_dir")
    record = {
        "format": FORMAT,
        "made_from": json.loads(
            json.dumps(
                {
                    "corpus": corpus["made_from"],
                    "teacher": weights_checksum(teacher),
                    "truncation_factor": options.truncation_factor,
                }
            )
        ),
    }
    rank, world = process_place()
    _begin(target, record, options.overwrite, rank)
    count = int(corpus["shards"])
    mine = [number for number in range(count) if number % world == rank]
    with scratch_folder(options.cache() / "graphs", "masked-lm") as graph:
        asked = MaskedLM(teacher, graph)
        for number in mine:
            make_shard(asked, options, shard_folder(source, number), shard_folder(target, number))
    return _finished(target, record, corpus)


def _check_corpus(options: TeacherOutputOptions, corpus: dict[str, Any]) -> None:
    known = corpus["made_from"]["options"]
    if known["dynamic_masking"]:
        raise InputError(f"--input_file {options.input_file}: made with --dynamic_masking: nothing is hidden in it yet")
    for name in ("max_seq_length", "max_predictions_per_seq"):
        given = getattr(options, name)
        if given is not None and known[name] > given:
            raise InputError(f"--{name} {given}: the instances of {options.input_file} were made with {known[name]}")


def _begin(target: Path, record: dict[str, Any], overwrite: bool, rank: int) -> None:
    """Makes the folder ready, or refuses one that holds something else."""
    try:
        known = read_json(target / RECORD)
    except FileNotFoundError:
        known = None
    except ValueError as error:
        raise InputError(f"{target / RECORD}: damaged ({error}); remove the folder, or choose another") from error
    is_same = known is not None and known.get("made_from") == record["made_from"]
    if known is not None and not is_same and not overwrite:
        raise InputError(f"--output_dir {target}: of another corpus or teacher; pass --overwrite or choose another")
    if known is None and target.is_dir() and any(not path.name.startswith(".") for path in target.iterdir()):
        raise InputError(f"--output_dir {target} is not empty; choose another")
    if known is not None and not is_same and rank == 0:
        (target / RECORD).unlink()
        for path in target.glob("shard-*"):
            shutil.rmtree(path)
    target.mkdir(parents=True, exist_ok=True)
    clear_folder(target)
    if not is_same:
        write_json(target / RECORD, record)


def make_shard(asked: MaskedLM, options: TeacherOutputOptions, source: Path, target: Path) -> None:
    """Writes a shard with what the teacher expects beside its columns; what is there already stays.

    Args:
        asked: the teacher.
        options: of the run.
        source: the shard of the corpus.
        target: the shard that is made.
    """
    parts = target.with_name(f"{target.name}.parts")
    try:
        Store(target)
    except StoreDamaged:
        pass
    else:
        shutil.rmtree(parts, ignore_errors=True)
        return
    try:
        columns = Columns.read(Store(source))
    except StoreDamaged as damage:
        raise InputError(f"--input_file: {damage}; make the corpus again with the same command") from damage
    bar = ProgressBar(target.name, columns.rows)
    paths = []
    for number, start in enumerate(range(0, max(1, columns.rows), PART_ROWS)):
        block = columns.slice(start, min(start + PART_ROWS, columns.rows))
        path = parts / f"part-{number:05d}"
        try:
            if len(Store(path)) != block.rows:
                raise StoreDamaged(f"{path}: other rows")
        except StoreDamaged:
            with StoreWriter(path) as writer:
                block.with_(**answers(asked, block, options.truncation_factor, options.predict_batch_size)).write(
                    writer
                )
        paths.append(path)
        bar.advance(block.rows)
    bar.close()
    with StoreWriter(target, {"kind": "masked-outputs", "kept": options.truncation_factor}) as writer:
        for path in paths:
            Columns.read(Store(path)).write(writer)
    shutil.rmtree(parts)


def answers(asked: MaskedLM, block: Columns, kept: int, batch_size: int) -> dict[str, Ragged]:
    """The most likely pieces at the hidden places of some rows.

    Args:
        asked: the teacher.
        block: ``input_ids``, ``token_type_ids``, ``masked_positions``.
        kept: how many pieces.
        batch_size: rows that the teacher reads at a time, at most.

    Returns:
        ``teacher_ids`` and ``teacher_probs``, [places of all rows, kept], the most likely first.
    """
    places = block[PLACES]
    assert isinstance(places, Ragged)
    places = places.compact()
    vocabulary = asked.loaded.model.config.vocab_size
    kept = min(kept, vocabulary)
    ids = np.zeros((len(places.values), kept), np.uint16 if vocabulary <= 1 << 16 else np.int32)
    probabilities = np.zeros(ids.shape, np.float16)
    inputs = Columns({name: block[name] for name in ("input_ids", "token_type_ids")})
    order = np.argsort(-block.costs, kind="stable")
    order = order[places.lengths[order] > 0]
    for batch in token_parts(block.costs, order, TOKENS_PER_BATCH):
        for start in range(0, len(batch), batch_size):
            rows = batch[start : start + batch_size]
            taken = places.take(rows)
            numbers = np.repeat(np.arange(len(rows)), taken.lengths)
            said = asked.logits(
                inputs.padded(rows, asked.loaded.encoder.pad_id), numbers, taken.values.astype(np.int64)
            )
            best = largest(said, kept)
            where = np.repeat(places.offsets[rows] - taken.offsets[:-1], taken.lengths) + np.arange(len(taken.values))
            ids[where] = best
            probabilities[where] = np.take_along_axis(softmax(said), best, 1)
    return {IDS: Ragged(ids, places.offsets), PROBABILITIES: Ragged(probabilities, places.offsets)}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _finished(target: Path, record: dict[str, Any], corpus: dict[str, Any]) -> dict[str, Any]:
    count = int(corpus["shards"])
    missing = [n for n in range(count) if not (shard_folder(target, n) / "manifest.json").is_file()]
    if missing:
        say(f"{target}: {count - len(missing):,} of {count:,} shards are there; other processes make the rest")
        return record
    stores = [Store(shard_folder(target, number), verify=False) for number in range(count)]
    places = sum(int(store[PLACES].offsets[-1]) for store in stores)  # type: ignore[union-attr]
    size = sum(store[name].values.nbytes for store in stores for name in (IDS, PROBABILITIES))  # type: ignore[union-attr]
    whole = {
        **record,
        "shards": count,
        "rows": corpus["rows"],
        "places": places,
        "bytes_a_place": size / max(1, places),
    }
    write_json(target / RECORD, whole)
    say(f"{target}: {corpus['rows']:,} rows, {places:,} hidden places, {whole['bytes_a_place']:.0f} bytes a place")
    return whole
