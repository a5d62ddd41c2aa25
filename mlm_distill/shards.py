"""Shards of instances, and the processes that make them; no neural network is needed for that, and none imported."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from console import InputError, ProgressBar
from data.corpus import Share, documents, references
from data.instances import NO_NEXT, Document, Instance, Masker, ReferenceMisfit, Words, held_out, instances, tokenize
from data.ragged import Ragged
from data.segmentation import segmenter
from data.store import StoreWriter
from data.streams import generator
from data.tokenization import WordPieceTokenizer
from mlm_distill.folder import HELD_OUT, SHARD, ShardFolder
from mlm_distill.options import CorpusOptions

T = TypeVar("T")
BLOCK = 1000


@dataclass(frozen=True)
class Plan:
    """What every worker knows.

    Attributes:
        options: of the corpus.
        vocab: the vocabulary.
        lowercase: of the tokenizer.
        mark: what shards say of what they were made from.
    """

    options: CorpusOptions
    vocab: tuple[str, ...]
    lowercase: bool
    mark: str = ""

    def tokenizer(self) -> WordPieceTokenizer:
        """A tokenizer of this process."""
        return WordPieceTokenizer(self.vocab, self.lowercase)

    def words(self) -> Words:
        """The words of Chinese lines, by the segmenter that the options name."""
        return segmenter(self.options.segmenter, self.options.ltp_model)

    def documents(
        self, share: Share, number: int, tokenizer: WordPieceTokenizer
    ) -> tuple[list[Document], list[Document]]:
        """The tokens of a share's documents: to learn from, and held out."""
        options = self.options
        found = list(documents(share))
        if share.has_references:
            places, told = zip(*references(share), strict=True) if found else ((), ())
            try:
                known = tokenize(found, tokenizer, references=told)
            except ReferenceMisfit as fault:
                raise InputError(f"{places[fault.row]}: {fault}") from None
        else:
            known = tokenize(found, tokenizer, self.words() if options.language == "zh" else None)
        return held_out(known, options.held_out, generator(options.random_seed, "held out", number))


def make_all(plan: Plan, work: Sequence[tuple[int, Share]], target: ShardFolder) -> None:
    """Makes shards by ``--max_workers`` processes.

    Args:
        plan: of the corpus.
        work: numbers and shares.
        target: receives the shards.
    """
    bar = ProgressBar("shards", len(work))
    if plan.options.max_workers == 1 or len(work) < 2:
        for number, share in work:
            make_shard(plan, number, share, target)
            bar.advance(1)
        bar.close()
        return
    # Not forked: matrix libraries do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(plan.options.max_workers, len(work)), context, _set_plan, (plan,)) as pool:
        waiting: set[Future] = set()
        todo = iter(work)
        try:
            while True:
                for number, share in todo:
                    waiting.add(pool.submit(_make, number, share, target))
                    if len(waiting) > 2 * plan.options.max_workers:
                        break
                if not waiting:
                    break
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    bar.advance(1)
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process was killed, perhaps as memory ran out; give the same command with a smaller "
                "--max_workers or --shard_megabytes"
            ) from error
        except BaseException:
            # The first fault ends the run: what has not begun need not begin.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    bar.close()


_PLAN: list[Plan] = []


def _set_plan(plan: Plan) -> None:
    _PLAN[:] = [plan]


def _make(number: int, share: Share, target: ShardFolder) -> None:
    make_shard(_PLAN[0], number, share, target)


def make_shard(plan: Plan, number: int, share: Share, target: ShardFolder) -> None:
    """Writes the instances of a share as a store, and those of the documents that are held out as another one.

    Columns: ``input_ids`` and ``token_type_ids``; ``masked_positions`` and ``masked_ids``, or with dynamic masking
    ``word_starts``; with random next parts ``next``, 1 where it is random. What is held out is read once, and its masks
    are always stored.
    """
    tokenizer = plan.tokenizer()
    learn, kept = plan.documents(share, number, tokenizer)
    masker = Masker(plan.options.masking(), tokenizer)
    once = dataclasses.replace(plan, options=plan.options.replace(dynamic_masking=False, dupe_factor=1))
    for part, how, known in ((HELD_OUT, once, kept), (SHARD, plan, learn)):
        metadata = {"kind": "pretraining-data", "shard": number, "part": part, "made_from": plan.mark}
        with StoreWriter(target.shard(number, part), metadata) as writer:
            for block in blocks(all_passes(how, known, tokenizer, number)):
                writer.append(**columns(how, block, masker, number, writer.rows))
            if not writer.rows:
                writer.append(**columns(how, [], masker, number, 0))


def all_passes(plan: Plan, known: Sequence[Any], tokenizer: WordPieceTokenizer, number: int) -> Iterator[Instance]:
    """The instances of a shard, pass after pass."""
    options = plan.options
    for turn in range(options.dupe_factor):
        yield from instances(known, options.windows(), tokenizer, options.random_seed, number, turn)


def blocks(found: Iterable[T]) -> Iterator[list[T]]:
    """Some at a time."""
    block: list[T] = []
    for one in found:
        block.append(one)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def columns(
    plan: Plan, block: Sequence[Instance], masker: Masker, number: int, first: int
) -> dict[str, Ragged | np.ndarray]:
    """The columns of a block of instances; see :func:`make_shard`.

    Args:
        plan: of the corpus.
        block: instances.
        masker: hides their tokens.
        number: of the shard.
        first: number of the block's first row in it.
    """
    options = plan.options
    found: dict[str, Ragged | np.ndarray] = {"token_type_ids": _ragged([i.types for i in block], np.int8)}
    if options.dynamic_masking:
        found["input_ids"] = _ragged([i.ids for i in block], np.int32)
        found["word_starts"] = _ragged([i.starts for i in block], np.int8)
    else:
        ids, starts = _ragged([i.ids for i in block], np.int32), _ragged([i.starts for i in block], np.int8)
        made = masker(ids, starts, generator(options.random_seed, "masks", number, first))
        found |= dict(zip(("input_ids", "masked_positions", "masked_ids"), made, strict=True))
    if options.ramdom_next:
        found["next"] = np.asarray([i.next for i in block if i.next != NO_NEXT], np.int8)
    return found


def _ragged(rows: Sequence[np.ndarray], dtype: type) -> Ragged:
    lengths = np.asarray([len(row) for row in rows], np.int64)
    values = np.concatenate(rows).astype(dtype) if rows else np.empty(0, dtype)
    return Ragged.from_lengths(values, lengths)
