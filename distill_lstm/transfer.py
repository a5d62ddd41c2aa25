"""Transfer sets of the Bi-LSTM recipes: training rows, rows without labels, and augmented copies of both."""

from __future__ import annotations

from pathlib import Path

from console import InputError, say
from core.checkpoint import inputs_inside
from data.pairs import more_rows, with_unlabeled
from data.part_of_speech import make_tagger
from data.sources import Rows, TaskData, describe
from data.tasks import Task
from data.tokenization import JiebaTokenizer, Tokenizer, WordPieceTokenizer, read_vocab
from data.transfer import TransferSet, build_transfer_set, check_target, publish_transfer_set, transfer_key
from distill_lstm.options import AugmentDataOptions, AugmentOptions
from files import alone_in, scratch_folder
from models.pretrained import resolve_pretrained


def augment(options: AugmentDataOptions) -> int:
    """Writes a transfer set; returns its number of rows.

    Raises:
        InputError: rows or output cannot be used; what was there before stays.
    """
    target = check_target(options.output_file, options.overwrite)
    if inside := inputs_inside(target, options.as_dict(), ("output_file",)):
        raise InputError(f"--output_file {target}: holds {inside}, which is read; choose another")
    data = options.rows()
    say(describe(data))
    rows = rows_to_augment(options, data, options.seed, options.skip_bad_rows)
    say(more_rows(data.train, rows))
    tokenizer = _tokenizer(options, data.task.language)
    with scratch_folder(target.parent, f"{target.name}.made") as scratch:
        folder = scratch / "store"
        how, words = options.augmentation(data.task), options.whole_words(data.task)
        made = build_transfer_set(rows, tokenizer, how, options.seed, folder, words)
        count = len(made)
        publish_transfer_set(made, folder, data.task, target)
    say(f"{target}: {count:,} rows")
    return count


def _tokenizer(options: AugmentDataOptions, language: str) -> Tokenizer:
    if language == "zh":
        # Only the words count here; a student makes ids of them later.
        return JiebaTokenizer(["[PAD]", "[UNK]", "[MASK]"])
    if options.vocab_path:
        return WordPieceTokenizer(read_vocab(Path(options.vocab_path)))
    return WordPieceTokenizer.load(resolve_pretrained(options.model_name, options.cache()))


def rows_to_augment(options: AugmentOptions, data: TaskData, seed: int, skip_bad_rows: bool) -> Rows:
    """The training rows, the unlabelled ones, and pairs made anew from both.

    Args:
        options: say where further rows are, and which tagger will be needed.
        data: the training rows, and those that judge what learns.
        seed: of the run.
        skip_bad_rows: leave out further rows that cannot be read, and count them.
    """
    if options.p_pos:
        # A tagger that is missing is told before there is work to lose.
        make_tagger(options.pos_tagger, data.task.language, options.spacy_model)
    return with_unlabeled(data, options.unlabeled(), seed, skip_bad_rows)


def transfer_set(
    options: AugmentOptions, rows: Rows, task: Task, tokenizer: Tokenizer, seed: int, cache: Path
) -> TransferSet:
    """``rows`` with augmented copies, from the cache when they were made before."""
    words, how = options.whole_words(task), options.augmentation(task)
    folder = cache / "transfer_sets" / transfer_key(rows, tokenizer, how, seed, words)
    with alone_in(folder.with_name(f"{folder.name}.made"), f"transfer set in {cache}"):
        return build_transfer_set(rows, tokenizer, how, seed, folder, words)
