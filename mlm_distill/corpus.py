"""From raw text to shards of instances, by any number of processes; what a killed run has finished stays.

A shard is a store of its own and depends on the options and its share of the text alone. ``corpus.json`` beside the
shards says what they were made from, and when all are there how many rows and tokens they hold.
"""

from __future__ import annotations

import dataclasses
import filecmp
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from console import InputError, duration, say, table
from core.distributed import process_place
from data.corpus import (
    FIELD,
    SUFFIXES,
    Reading,
    Share,
    check_first_records,
    corpus_files,
    fingerprint,
    has_no_ending,
    is_json,
    layout,
    shares,
    text_lines,
)
from data.instances import Masker, references_of
from data.ragged import Ragged
from data.store import Store
from data.streams import generator
from data.tokenization import WordPieceTokenizer, read_vocab, tokenizer_checksum, write_vocab
from data.vocabulary import vocabulary_of_corpus
from files import check_new_file, check_new_folder, file_checksum, new_file, scratch_folder
from mlm_distill.folder import CORPUS, HELD_OUT, SHARD, ShardFolder, mark_of
from mlm_distill.options import CorpusOptions, VocabularyOptions
from mlm_distill.shards import Plan, all_passes, blocks, columns, make_all
from models.pretrained import resolve_pretrained

REFERENCE = ".ref"
# Shards whose share is measured by --dry_run.
SAMPLED = 2


def create_vocabulary(options: VocabularyOptions) -> int:
    """Writes the vocabulary of raw text, :func:`data.vocabulary.vocabulary_of_corpus`.

    Returns:
        How many pieces it holds.

    Raises:
        InputError: text or output cannot be used.
    """
    files = corpus_files(options.input_dir)
    target = Path(options.output_file)
    if target.exists() and not options.overwrite:
        raise InputError(f"--output_file {target} exists; pass --overwrite or choose another name")
    check_new_file(target, "--output_file")
    is_text = target.name.endswith(SUFFIXES) or has_no_ending(target)
    if (is_text and _input_around(options.input_dir, target)) or target.resolve() in {file.resolve() for file in files}:
        raise InputError(f"--output_file {target}: would be read as text; put it beside --input_dir")
    reading = Reading(options.text_field)
    vocab = vocabulary_of_corpus(files, options.min_count, options.max_words, reading=reading)
    write_vocab(target, vocab)
    say(f"{len(vocab):,} pieces: {target}")
    return len(vocab)


def create(options: CorpusOptions, option: str = "--output_dir", is_alone: bool = False) -> dict[str, Any]:
    """Makes all shards that are not there yet; under a launcher this process's share of them.

    Args:
        options: of the corpus.
        option: names the folder of the shards in errors.
        is_alone: whether this process makes all of them, whatever others there are.

    Returns:
        What ``corpus.json`` holds.

    Raises:
        InputError: text, vocabulary or output cannot be used.
    """
    if (name := _input_around(options.input_dir, options.output_dir)) is not None:
        raise InputError(
            f"{option} {options.output_dir}: lies within --input_dir {name}, and would be read as text; choose another "
            "folder"
        )
    files = corpus_files(options.input_dir)
    references = _references(options, files)
    # The usual mistake is told before a folder is begun.
    check_first_records(files, options.reading())
    plan = _plan(options)
    if options.dry_run:
        return estimate(plan, files, references)
    target = ShardFolder(Path(options.output_dir), CORPUS, option)
    rank, world = (0, 1) if is_alone else process_place()
    # This reads the text and the references beside it: what is wrong with them is told before anything is kept.
    work = list(enumerate(_shares(options, files, references)))
    made_from = _made_from(plan, files, references, [share for _, share in work])
    told = Path(options.write_reference) if options.write_reference and rank == 0 else None
    record = target.begin(made_from, options.overwrite)
    mark = mark_of(record)
    if told is not None:
        write_references(plan, files, told)
    mine = [(number, share) for number, share in work if number % world == rank]
    missing = [(number, share) for number, share in mine if not target.is_there(number, mark)]
    say(f"{len(files):,} file(s), {len(work):,} shard(s); {len(missing):,} to make")
    began = time.perf_counter()
    make_all(dataclasses.replace(plan, mark=mark), missing, target)
    if missing:
        say(f"made in {duration(time.perf_counter() - began)}")
    return _finished(target, record, len(work))


def _input_around(names: Sequence[str], output: str | Path) -> str | None:
    """The input within which an output lies, or which it is; None when there is none."""
    place = Path(output).resolve()
    return next((name for name in names if Path(name).resolve() in (place, *place.parents)), None)


def is_of_other_text(options: CorpusOptions) -> bool:
    """Whether the folder of a corpus holds one of other text, or made with other options."""
    target, files = ShardFolder(Path(options.output_dir), CORPUS, "--output_dir"), corpus_files(options.input_dir)
    there = target.known() is not None
    references = _references(options, files)
    found = list(_shares(options, files, references)) if there else []
    return there and not target.is_of(_made_from(_plan(options), files, references, found))


def _shares(options: CorpusOptions, files: Sequence[Path], references: Sequence[Path]) -> Iterator[Share]:
    return shares(files, options.shard_megabytes << 20, references, options.reading())


def _references(options: CorpusOptions, files: Sequence[Path]) -> list[Path]:
    """The reference files, one for each file of text.

    Raises:
        InputError: not there, not as many, or of text that has none.
    """
    if not options.reference_file:
        return []
    found: list[Path] = []
    for name in options.reference_file:
        path = Path(name)
        if path.is_dir():
            found += [path / f"{file.name}{REFERENCE}" for file in files]
        else:
            found.append(path)
    if missing := [path for path in found if not path.is_file()]:
        raise InputError(f"--reference_file {missing[0]}: no such file")
    if len(found) != len(files):
        raise InputError(f"--reference_file: {len(found)} file(s) for {len(files)} of text; one for each is needed")
    if records := [file for file in files if is_json(file)]:
        raise InputError(f"--reference_file: goes with text by lines; {records[0]} holds records")
    return found


def write_references(plan: Plan, files: Sequence[Path], folder: Path) -> None:
    """Writes where words go on, for every file of text: MiniRBT's whole-word reference.

    Raises:
        InputError: the folder cannot be made, or a file is no text by lines.
    """
    check_new_folder(folder, "--write_reference")
    if records := [file for file in files if is_json(file)]:
        raise InputError(f"--write_reference: goes with text by lines; {records[0]} holds records")
    names = [file.name for file in files]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--write_reference: two files of text are named {twice[0]}; give them in two runs")
    tokenizer = plan.tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = folder / f"{file.name}{REFERENCE}"
        with scratch_folder(folder, file.name) as scratch:
            made = scratch / target.name
            with new_file(made) as written:
                for lines in blocks(text_lines(file)):
                    for positions in references_of(lines, tokenizer, plan.words()):
                        written.write(f"{json.dumps(positions)}\n")
            # Those of another segmenter, or made by hand, stay; a run that goes on finds its own.
            if target.exists() and not plan.options.overwrite and not filecmp.cmp(made, target, shallow=False):
                raise InputError(f"--write_reference {target}: holds others; choose another folder, or --overwrite")
            os.replace(made, target)
    say(f"{folder}: references of {len(files):,} file(s)")


def _plan(options: CorpusOptions) -> Plan:
    if options.vocab_file:
        path = Path(options.vocab_file)
        if not path.is_file():
            raise InputError(f"--vocab_file {path}: no such file")
        tokenizer = WordPieceTokenizer(read_vocab(path), options.do_lower_case)
    else:
        tokenizer = WordPieceTokenizer.load(resolve_pretrained(str(options.model_name), options.cache()))
    plan = Plan(options, tuple(tokenizer.vocab), tokenizer.lowercase)
    if options.language == "zh":
        # A segmenter that is not installed is told before any work.
        plan.words()
    return plan


def _made_from(plan: Plan, files: Sequence[Path], references: Sequence[Path], found: Sequence[Share]) -> dict[str, Any]:
    places = ("input_dir", "output_dir", "vocab_file", "reference_file")
    # Corpora of before these options are those of their defaults.
    plain = {"text_field": FIELD, "line_by_line": False}
    state = {k: v for k, v in plan.options.state_dict().items() if k not in places and (k, v) not in plain.items()}
    return {
        "options": state,
        "files": fingerprint(files),
        "references": [file_checksum(path) for path in references],
        "tokenizer": tokenizer_checksum(plan.tokenizer()),
        # Nothing where shares are cut as they always were.
        **({"shares": cut} if (cut := layout(found)) else {}),
    }


def _finished(target: ShardFolder, record: dict[str, Any], count: int) -> dict[str, Any]:
    """Writes the whole record when all shards are there; another process's may be missing still."""
    mark = mark_of(record)
    there = sum(target.is_there(number, mark, verify=False) for number in range(count))
    if there < count:
        say(f"{target.path}: {there:,} of {count:,} shards are there; other processes make the rest")
        return record
    stores = {part: [Store(target.shard(n, part), verify=False) for n in range(count)] for part in (SHARD, HELD_OUT)}
    rows, held_out = (sum(map(len, stores[part])) for part in (SHARD, HELD_OUT))
    if not rows:
        target.clear()
        raise InputError(f"--input_dir: no text in {count:,} share(s)")
    tokens = sum(int(store["input_ids"].offsets[-1]) for store in stores[SHARD])  # type: ignore[union-attr]
    say(f"{target.path}: {rows:,} rows, {tokens:,} tokens in {count:,} shard(s); {held_out:,} rows held out")
    return target.end(record, shards=count, rows=rows, held_out_rows=held_out, tokens=tokens)


def estimate(plan: Plan, files: Sequence[Path], references: Sequence[Path] = ()) -> dict[str, Any]:
    """What a run would come to, from a few shares of the text.

    Returns:
        Rows, tokens, bytes and hours, with ``--max_workers`` processes.
    """
    options = plan.options
    all_shares = list(_shares(options, files, references))
    if not all_shares:
        raise InputError("--input_dir: no text in these files")
    total = sum(share.size for share in all_shares)
    drawn = generator(options.random_seed, "sample").permutation(len(all_shares))[:SAMPLED]
    tokenizer = plan.tokenizer()
    masker = Masker(options.masking(), tokenizer)
    began = time.perf_counter()
    rows = tokens = size = read = 0
    for number in drawn.tolist():
        share = all_shares[number]
        read += share.size
        known, _ = plan.documents(share, number, tokenizer)
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
