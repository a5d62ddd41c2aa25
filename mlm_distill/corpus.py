"""From raw text to shards of instances, by any number of processes; what a killed run has finished stays.

A shard is a store of its own and depends on the options and its share of the text alone. ``corpus.json`` beside the
shards says what they were made from, and when all are there how many rows and tokens they hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import InputError, duration, say, table
from data.corpus import corpus_files, documents, fingerprint, shares
from data.instances import Masker, tokenize
from data.ragged import Ragged
from data.store import Store, StoreDamaged
from data.streams import generator
from data.tokenization import Tokenizer, WordPieceTokenizer, read_vocab, tokenizer_identity
from files import check_new_folder, clear_folder, read_json, write_json
from mlm_distill.options import CorpusOptions
from mlm_distill.shards import Plan, all_passes, blocks, columns, make_all, shard_folder
from models.pretrained import resolve_pretrained

RECORD, FORMAT = "corpus.json", "paddledistill-corpus-1"
# Shards whose share is measured by --dry_run.
SAMPLED = 2


def create(options: CorpusOptions) -> dict[str, Any]:
    """Makes all shards that are not there yet; under a launcher this process's share of them.

    Returns:
        What ``corpus.json`` holds.

    Raises:
        InputError: text, vocabulary or output cannot be used.
    """
    files = corpus_files(options.input_dir)
    plan = _plan(options)
    target = Path(options.output_dir)
    if options.dry_run:
        return estimate(plan, files)
    check_new_folder(target, "--output_dir")
    record = _record(plan, files)
    known = _known_record(target)
    is_same = known is not None and known["made_from"] == record["made_from"]
    if known is not None and not is_same and not options.overwrite:
        raise InputError(
            f"--output_dir {target}: made from other text or with other options; pass --overwrite or choose another"
        )
    if known is None and target.is_dir() and any(not name.startswith(".") for name in os.listdir(target)):
        raise InputError(f"--output_dir {target} is not empty; choose another")
    rank, world = process_place()
    if known is not None and not is_same and rank == 0:
        _clear(target)
    target.mkdir(parents=True, exist_ok=True)
    clear_folder(target)
    if not is_same:
        write_json(target / RECORD, record)
    work = list(enumerate(shares(files, options.shard_megabytes << 20)))
    mine = [(number, share) for number, share in work if number % world == rank]
    missing = [(number, share) for number, share in mine if not _is_there(target, number)]
    say(f"{len(files):,} file(s), {len(work):,} shard(s); {len(missing):,} to make")
    began = time.perf_counter()
    make_all(plan, missing, target)
    if missing:
        say(f"made in {duration(time.perf_counter() - began)}")
    return _finished(target, record, len(work))


def process_place() -> tuple[int, int]:
    """This process's number and how many there are, as ``paddle.distributed.launch`` says."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0")), int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def _plan(options: CorpusOptions) -> Plan:
    if options.vocab_file:
        path = Path(options.vocab_file)
        if not path.is_file():
            raise InputError(f"--vocab_file {path}: no such file")
        tokenizer = WordPieceTokenizer(read_vocab(path), options.do_lower_case)
    else:
        tokenizer = WordPieceTokenizer.load(resolve_pretrained(str(options.model_name), options.cache()))
    return Plan(options, tuple(tokenizer.vocab), tokenizer.lowercase)


def _record(plan: Plan, files: Sequence[Path]) -> dict[str, Any]:
    state = {k: v for k, v in plan.options.state_dict().items() if k not in ("input_dir", "output_dir", "vocab_file")}
    files_known = [list(known) for known in fingerprint(files)]
    made_from = {"options": state, "files": files_known, "tokenizer": tokenizer_checksum(plan.tokenizer())}
    return {"format": FORMAT, "made_from": made_from}


def finished_record(folder: Path, option: str) -> dict[str, Any]:
    """``corpus.json`` of a corpus of which all shards are there.

    Raises:
        InputError: no corpus, or an unfinished one.
    """
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: no such folder")
    record = _known_record(folder)
    if record is None:
        raise InputError(f"{option} {folder}: no {RECORD} here; make it with mlm_distill.create_pretraining_data")
    if type(record.get("shards")) is not int:
        raise InputError(f"{option} {folder}: not all of its shards are there; finish it with the same command first")
    return record


def tokenizer_checksum(tokenizer: Tokenizer) -> str:
    """Changes with a vocabulary and how it is used."""
    return hashlib.sha256(repr(sorted(tokenizer_identity(tokenizer).items())).encode()).hexdigest()


def _known_record(target: Path) -> dict[str, Any] | None:
    try:
        record = read_json(target / RECORD)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{target / RECORD}: damaged ({error}); remove the folder, or choose another") from error
    if record.get("format") != FORMAT or "made_from" not in record:
        raise InputError(f"{target / RECORD}: not written by this script; choose another --output_dir")
    return record


def _clear(target: Path) -> None:
    (target / RECORD).unlink()
    for path in target.glob("shard-*"):
        shutil.rmtree(path)


def _is_there(target: Path, number: int) -> bool:
    try:
        Store(shard_folder(target, number))
    except StoreDamaged:
        return False
    return True


def _finished(target: Path, record: dict[str, Any], count: int) -> dict[str, Any]:
    """Writes the whole record when all shards are there; another process's may be missing still."""
    stores = []
    for number in range(count):
        with contextlib.suppress(StoreDamaged):
            stores.append(Store(shard_folder(target, number), verify=False))
    if len(stores) < count:
        say(f"{target}: {len(stores):,} of {count:,} shards are there; other processes make the rest")
        return record
    rows = sum(len(store) for store in stores)
    if not rows:
        _clear(target)
        raise InputError(f"--input_dir: no text in {count:,} share(s)")
    tokens = sum(int(store["input_ids"].offsets[-1]) for store in stores)  # type: ignore[union-attr]
    whole = {**record, "shards": count, "rows": rows, "tokens": tokens}
    write_json(target / RECORD, whole)
    say(f"{target}: {rows:,} rows, {tokens:,} tokens in {count:,} shard(s)")
    return whole


def estimate(plan: Plan, files: Sequence[Path]) -> dict[str, Any]:
    """What a run would come to, from a few shares of the text.

    Returns:
        Rows, tokens, bytes and hours, with ``--max_workers`` processes.
    """
    options = plan.options
    all_shares = list(shares(files, options.shard_megabytes << 20))
    if not all_shares:
        raise InputError("--input_dir: no text in these files")
    total = sum(share.stop - share.start for share in all_shares)
    drawn = generator(options.random_seed, "sample").permutation(len(all_shares))[:SAMPLED]
    tokenizer = plan.tokenizer()
    masker = Masker(options.masking(), tokenizer)
    began = time.perf_counter()
    rows = tokens = size = read = 0
    for number in drawn.tolist():
        share = all_shares[number]
        read += share.stop - share.start
        known = tokenize(list(documents(share)), tokenizer, options.language)
        for block in blocks(all_passes(plan, known, tokenizer, number)):
            made = columns(plan, block, masker, number, 0)
            rows += len(block)
            tokens += sum(len(instance.ids) for instance in block)
            size += sum(
                c.values.nbytes + c.offsets.nbytes if isinstance(c, Ragged) else c.nbytes for c in made.values()
            )
    scale = total / max(1, read)
    hours = (time.perf_counter() - began) * scale / min(options.max_workers, len(all_shares)) / 3600
    found = {
        "rows": math.ceil(rows * scale),
        "tokens": math.ceil(tokens * scale),
        "bytes": math.ceil(size * scale),
        "hours": hours,
        "shards": len(all_shares),
    }
    shown = [
        ("text", f"{total / 1e6:,.1f} MB in {len(files):,} file(s)"),
        ("shards", f"{found['shards']:,}"),
        ("rows", f"{found['rows']:,}"),
        ("tokens", f"{found['tokens']:,}"),
        ("on disk", f"{found['bytes'] / 1e6:,.1f} MB"),
        ("hours", f"{hours:.2f}"),
    ]
    say(table(("estimated", f"from {len(drawn)} shard(s)"), shown))
    return found
