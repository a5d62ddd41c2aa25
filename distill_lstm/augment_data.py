"""Makes a transfer set: training rows, rows without labels, and augmented copies of both, for any recipe.

python -m distill_lstm.augment_data --task_name sst-2 --data_dir DIR --output_file outputs/transfer.tsv
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from args import DataOptions, not_negative, option, parse
from console import InputError, run_script, say
from distill_lstm.options import AugmentOptions

if TYPE_CHECKING:
    from data.augment import Augmentation
    from data.sources import Rows
    from data.tasks import Task
    from data.tokenization import Tokenizer
    from data.transfer import TransferSet

SCRIPT = "distill_lstm.augment_data"


@dataclass(frozen=True, kw_only=True)
class AugmentDataOptions(AugmentOptions, DataOptions):
    """Options of ``distill_lstm.augment_data``."""

    output_file: str = option(help="a .tsv file, or a folder that receives a store")
    overwrite: bool = option(False, "replace what is there")
    model_name: str = option("all-MiniLM-L6-v2", "the BERT whose word pieces are the units of English rows")
    vocab_path: str | None = option(None, "a vocabulary file instead")
    cache_dir: str | None = option(None, "folder for downloaded models")
    seed: int = option(42, "the one seed that all random streams derive from", check=not_negative)

    def cache(self) -> Path:
        """Where downloaded models are kept."""
        return Path(self.cache_dir or tempfile.gettempdir())


def main(argv: list[str]) -> None:
    """Parses the command line and makes the transfer set."""
    augment(parse(AugmentDataOptions, argv, __doc__ or "", f"python -m {SCRIPT}"))


def augment(options: AugmentDataOptions) -> int:
    """Writes a transfer set; returns its number of rows.

    Raises:
        InputError: rows or output cannot be used; what was there before stays.
    """
    from data.pairs import more_rows
    from data.sources import SUFFIXES, data_of, describe
    from data.transfer import build_transfer_set, write_table

    target = Path(options.output_file)
    if target.exists() and not options.overwrite:
        raise InputError(f"--output_file {target} exists; pass --overwrite or choose another name")
    as_table = target.suffix == ".tsv"
    if target.suffix in SUFFIXES and not as_table:
        raise InputError(f"--output_file {target}: expected a name that ends in .tsv, or the name of a folder")
    if target.is_dir() == as_table and target.exists():
        raise InputError(f"--output_file {target}: a table and a folder cannot replace each other")
    data = data_of(options)
    say(describe(data))
    rows = rows_to_augment(options, data.train, data.task, options.skip_bad_rows)
    say(more_rows(data.train, rows))
    tokenizer = _tokenizer(options, data.task.language)
    with tempfile.TemporaryDirectory(prefix="transfer-", dir=_parent(target)) as scratch:
        folder = Path(scratch) / "store"
        made = build_transfer_set(
            rows, tokenizer, augmentation(options, data.task), options.seed, folder, whole_words(options, data.task)
        )
        count = len(made)
        if as_table:
            write_table(made, data.task, target)
        else:
            from data.store import publish_folder

            publish_folder(folder, target)
    say(f"{target}: {count:,} rows")
    return count


def _parent(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.parent


def _tokenizer(options: AugmentDataOptions, language: str) -> Tokenizer:
    from data.tokenization import JiebaTokenizer, WordPieceTokenizer, read_vocab

    if language == "zh":
        # Only the words count here; a student makes ids of them later.
        return JiebaTokenizer(["[PAD]", "[UNK]", "[MASK]"])
    if options.vocab_path:
        return WordPieceTokenizer(read_vocab(Path(options.vocab_path)))
    from models.folder import resolve_pretrained

    return WordPieceTokenizer.load(resolve_pretrained(options.model_name, options.cache()))


def rows_to_augment(options: AugmentOptions, train: Rows, task: Task, skip_bad_rows: bool) -> Rows:
    """The training rows, the unlabelled ones, and pairs made anew from both."""
    from data.pairs import with_unlabeled
    from data.part_of_speech import make_tagger

    if options.p_pos:
        # A tagger that is missing is told before there is work to lose.
        make_tagger(options.pos_tagger, task.language, options.spacy_model)
    return with_unlabeled(train, task, options, options.seed, skip_bad_rows)


def whole_words(options: AugmentOptions, task: Task) -> bool:
    """Whether words are augmented, and not word pieces."""
    return options.whole_word_mask or options.p_pos > 0 or task.language == "zh"


def augmentation(options: AugmentOptions, task: Task) -> Augmentation:
    """The augmentation that the options describe."""
    from data.augment import NGRAM_RANGE, Augmentation

    return Augmentation(
        n_iter=options.n_iter,
        p_mask=options.p_mask,
        p_pos=options.p_pos,
        p_ngram=options.p_ngram,
        ngram_range=tuple(options.ngram_range) or NGRAM_RANGE[task.language],  # type: ignore[arg-type]
        tagger=options.pos_tagger,
        spacy_model=options.spacy_model,
    )


def transfer_set(options: AugmentOptions, rows: Rows, task: Task, tokenizer: Tokenizer, cache: Path) -> TransferSet:
    """``rows`` with augmented copies, from the cache when they were made before."""
    from data.transfer import build_transfer_set, transfer_key

    words, how = whole_words(options, task), augmentation(options, task)
    key = transfer_key(rows, tokenizer, how, options.seed, words)
    folder = cache / "transfer_sets" / key
    return build_transfer_set(rows, tokenizer, how, options.seed, folder, words)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
