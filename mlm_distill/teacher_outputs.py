"""What a masked language model expects at every hidden place of a corpus: the most likely pieces, kept on the disk.

Probabilities are those of the whole vocabulary, of which the largest are kept and not scaled up again; half-precision
numbers beside 16-bit ids: 512 bytes a place for 128 of them. Each shard of the corpus becomes a shard here, in parts
that a killed run finds again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle

from console import InputError, say
from core.arithmetic import FP32
from core.distributed import choose_device, process_place
from core.masked_lm import MaskedLM, largest, load_masked_lm
from core.metrics import softmax
from core.teacher import weights_checksum
from data.batches import TOKENS_PER_BATCH, token_parts
from data.columns import Columns
from data.passes import in_parts, stored_or_made
from data.ragged import Ragged
from data.store import Store, StoreDamaged, StoreWriter
from files import scratch_folder
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
    check_whole,
    mark_of,
)
from mlm_distill.options import TeacherOutputOptions
from models.weights import folder_of

# Rows of a part.
PART_ROWS = 1024


def create(options: TeacherOutputOptions) -> dict[str, Any]:
    """Asks the teacher about all shards that are not there yet; under a launcher about this process's share of them.

    Returns:
        What ``teacher_outputs.json`` holds.

    Raises:
        InputError: corpus, teacher or output cannot be used.
    """
    source = ShardFolder(Path(options.input_file), CORPUS, "--input_file")
    target = ShardFolder(Path(options.output_dir), TEACHER_OUTPUTS, "--output_dir")
    corpus = source.finished()
    _check_corpus(options, corpus)
    paddle.set_device(choose_device(options.device))
    if options.init_checkpoint:
        folder_of(options.init_checkpoint, "--init_checkpoint")
    name = folder_of(str(options.teacher_dir), "--teacher_dir")
    teacher = load_masked_lm(name, "--teacher_dir", 0, options.cache(), options.trust_pickle)
    check_reads(teacher, corpus["made_from"], f"--teacher_dir {options.teacher_dir}")
    rank, world = process_place()
    made_from = {
        "corpus": corpus["made_from"],
        "teacher": weights_checksum(teacher),
        "truncation_factor": options.truncation_factor,
        **({"precision": options.teacher_precision} if options.teacher_precision != FP32 else {}),
    }
    record = target.begin(made_from, options.overwrite)
    mark = mark_of(record)
    count = int(corpus["shards"])
    mine = [number for number in range(count) if number % world == rank]
    with scratch_folder(options.cache() / "graphs", "masked-lm") as graph:
        asked = MaskedLM(teacher, graph, precision=options.teacher_precision)
        for number in mine:
            for part in (HELD_OUT, SHARD):
                make_shard(asked, options, source.shard(number, part), target.shard(number, part), mark)
    return _finished(target, record, corpus)


def _check_corpus(options: TeacherOutputOptions, corpus: dict[str, Any]) -> None:
    known = corpus["made_from"]["options"]
    if known["dynamic_masking"]:
        raise InputError(f"--input_file {options.input_file}: made with --dynamic_masking: nothing is hidden in it yet")
    for name in ("max_seq_length", "max_predictions_per_seq"):
        given = getattr(options, name)
        if given is not None and known[name] > given:
            raise InputError(f"--{name} {given}: the instances of {options.input_file} were made with {known[name]}")


def make_shard(asked: MaskedLM, options: TeacherOutputOptions, source: Path, target: Path, mark: str) -> None:
    """Writes a shard with what the teacher expects beside its columns; what is there already stays.

    Args:
        asked: the teacher.
        options: of the run.
        source: the shard of the corpus.
        target: the shard that is made.
        mark: what the shard says of what it was made from.
    """

    def make(parts: Path) -> None:
        _make_alone(asked, options, source, target, parts, mark)

    stored_or_made(target, f"answers of {target.name}", lambda: check_whole(target, mark), make)


def _make_alone(
    asked: MaskedLM, options: TeacherOutputOptions, source: Path, target: Path, parts: Path, mark: str
) -> None:
    try:
        columns = Columns.read(Store(source))
    except StoreDamaged as damage:
        raise InputError(f"--input_file: {damage}; make the corpus again with the same command") from damage

    def read(path: Path, rows: np.ndarray) -> None:
        check_whole(path, mark)
        if (there := len(Store(path, verify=False))) != len(rows):
            raise StoreDamaged(f"{path}: {there} rows, expected {len(rows)}")

    def make(path: Path, rows: np.ndarray) -> None:
        block = columns.slice(rows[0], rows[-1] + 1) if len(rows) else columns
        with StoreWriter(path, {"made_from": mark}) as writer:
            block.with_(**answers(asked, block, options.truncation_factor, options.predict_batch_size)).write(writer)

    every = np.arange(columns.rows)
    # A shard without rows is a part too, whose columns the others have.
    blocks = [every[start : start + PART_ROWS] for start in range(0, max(1, columns.rows), PART_ROWS)]
    paths = in_parts(parts, target.name, blocks, columns.rows, read, make)
    metadata = {"kind": "masked-outputs", "kept": options.truncation_factor, "made_from": mark}
    with StoreWriter(target, metadata) as writer:
        for path in paths:
            Columns.read(Store(path)).write(writer)


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
    vocabulary = len(asked.loaded.tokenizer.vocab)
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


def _finished(target: ShardFolder, record: dict[str, Any], corpus: dict[str, Any]) -> dict[str, Any]:
    count = int(corpus["shards"])
    mark = mark_of(record)
    missing = [number for number in range(count) if not target.is_there(number, mark, verify=False)]
    if missing:
        say(f"{target.path}: {count - len(missing):,} of {count:,} shards are there; other processes make the rest")
        return record
    stores = [Store(target.shard(number), verify=False) for number in range(count)]
    places = sum(int(store[PLACES].offsets[-1]) for store in stores)  # type: ignore[union-attr]
    size = sum(store[name].values.nbytes for store in stores for name in (IDS, PROBABILITIES))  # type: ignore[union-attr]
    of_corpus = {name: corpus[name] for name in ("shards", "rows", "held_out_rows", "tokens")}
    whole = target.end(record, **of_corpus, places=places, bytes_a_place=size / max(1, places))
    say(f"{target.path}: {corpus['rows']:,} rows, {places:,} hidden places, {whole['bytes_a_place']:.0f} bytes a place")
    return whole
