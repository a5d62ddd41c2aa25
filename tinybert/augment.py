"""TinyBERT's augmentation from options to a transfer set."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from console import InputError, say
from core.checkpoint import inputs_inside
from core.layer_loss import encoder_of
from core.masked_lm import load_masked_lm
from core.teacher import weights_checksum
from data.pairs import more_rows, with_unlabeled
from data.ragged import Ragged
from data.replacement import Candidates, WordRows, replaced_copy, word_rows
from data.sources import Rows, describe
from data.tasks import Task
from data.tokenization import CHINESE, WordPieceTokenizer, tokenizer_identity
from data.transfer import (
    TransferSet,
    check_target,
    load_transfer_set,
    publish_transfer_set,
    write_transfer_set,
)
from data.vectors import read_vectors
from files import alone_in, clear_inside, scratch_folder
from models.folder import LoadedModel
from models.pretrained import pretrained_bert
from tinybert.candidates import (
    candidates_by_word,
    describe_source,
    nearest_words,
    whole_words,
    with_masked_lm,
    word_vectors_from_pieces,
)
from tinybert.options import ReplacementOptions, TinyAugmentOptions

# Only weights and vocabulary are read here: a length that every BERT has.
ANY_LENGTH = 3


def augment(options: TinyAugmentOptions) -> int:
    """Writes a transfer set; returns its number of rows.

    Raises:
        InputError: rows, models or output cannot be used; what was there before stays.
    """
    target = check_target(options.output_file, options.overwrite)
    if inside := inputs_inside(target, options.as_dict(), ("output_file",)):
        raise InputError(f"--output_file {target}: holds {inside}, which is read; choose another")
    data = options.rows()
    say(describe(data))
    teacher = pretrained_bert(
        options.teacher_model,
        None,
        ANY_LENGTH,
        options.seed,
        options.cache(),
        options.trust_pickle,
        architecture="BertModel",
    )
    rows = with_unlabeled(data, options.unlabeled(), options.seed, options.skip_bad_rows)
    if options.unlabeled():
        say(more_rows(data.train, rows))
    made = augmented_set(options, rows, data.task, teacher, options.seed, options.cache())
    with scratch_folder(target.parent, f"{target.name}.made") as scratch:
        folder = scratch / "store"
        if target.suffix != ".tsv":
            _copy_store(made, folder)
        publish_transfer_set(made, folder, data.task, target)
    say(f"{target}: {len(made):,} rows")
    return len(made)


def _copy_store(made: TransferSet, folder: Path) -> None:
    """A transfer set of the cache once more, for a user to have."""
    write_transfer_set(
        folder, made.units, made.unit, made.identity, made.columns, np.asarray(made.labels), 0, _unchanged, 0
    )


def _unchanged(copy: int, start: int, block: tuple[Ragged, ...], rng: np.random.Generator) -> tuple[Ragged, ...]:
    return block


def augmented_set(
    options: ReplacementOptions, rows: Rows, task: Task, teacher: LoadedModel, seed: int, cache: Path
) -> TransferSet:
    """Rows and their copies, from the cache when they were made before.

    Args:
        options: how copies are made.
        rows: the originals; of pairs each text gets its own copies, beside the other as it is.
        task: of them.
        teacher: gives pieces, and vectors where no others are named.
        seed: of the run.
        cache: the cache folder.

    Raises:
        InputError: a masked language model that is none, or of another vocabulary; damaged word vectors.
    """
    tokenizer = teacher.tokenizer
    if not isinstance(tokenizer, WordPieceTokenizer):
        raise InputError("augmentation needs a BERT, whose words have pieces")
    masked_lm = _masked_lm(options, tokenizer, seed, cache)
    if options.glove_embs and not Path(options.glove_embs).is_file():
        raise InputError(f"--glove_embs {options.glove_embs}: no such file")
    words = word_rows(rows.texts, tokenizer)
    has_words = np.all([column.lengths > 0 for column in words.columns], axis=0)
    if not has_words.all():
        # Of control characters alone, for one: a table could not hold them.
        say(f"{int((~has_words).sum()):,} row(s) without a word are left out")
        rows = rows.take(np.flatnonzero(has_words))
        words = word_rows(rows.texts, tokenizer)
    key = _key(options, words, rows, teacher, masked_lm, seed)
    folder = cache / "transfer_sets" / key
    say(describe_source(options.pretrained_bert_model, options.glove_embs, "the teacher"))
    with alone_in(folder.with_name(f"{key}.made"), f"transfer set in {cache}"):
        try:
            found = load_transfer_set(folder)
            if found.identity == key and len(found.columns) == len(words.columns):
                return found
            say("the stored transfer set is another one and is made again")
        except InputError:
            if folder.exists():
                say("the stored transfer set is damaged and is made again")
        parts = folder.with_name(f"{key}.parts")
        units, candidates = find_candidates(options, words, teacher, masked_lm, cache, parts)
        made = _write(folder, key, words, units, candidates, rows, options, seed)
        with alone_in(parts, f"candidates in {cache}"):
            clear_inside(parts)
        return made


def find_candidates(
    options: ReplacementOptions,
    words: WordRows,
    teacher: LoadedModel,
    masked_lm: LoadedModel | None,
    cache: Path,
    parts: Path,
) -> tuple[list[str], Candidates]:
    """All words, those of the rows and new ones, and the candidates of every place."""
    tokenizer = teacher.tokenizer
    assert isinstance(tokenizer, WordPieceTokenizer)
    may = words.replaceable()
    several = words.pieces.lengths > 1
    among = list(dict.fromkeys([*whole_words(tokenizer), *(w for i, w in enumerate(words.words) if may[i])]))
    one_piece = [word for i, word in enumerate(words.words) if may[i] and not several[i]]
    of_several = [word for i, word in enumerate(words.words) if may[i] and several[i]]
    table = _embedding_vectors(teacher, among) if masked_lm is None or not options.glove_embs else {}
    near = _near(table, one_piece, among, options.M) if masked_lm is None else {}
    vectors = table
    if options.glove_embs:
        vectors, _ = read_vectors(options.glove_embs, {*of_several, *among}, "--glove_embs")
    near |= _near(vectors, of_several, among, options.M)
    units, candidates = candidates_by_word(words, near, options.M)
    if masked_lm is not None:
        units, candidates = with_masked_lm(words, units, candidates, masked_lm, options.M, cache, parts)
    return units, candidates


def _near(vectors: dict[str, np.ndarray], asked: list[str], among: list[str], count: int) -> dict[str, list[str]]:
    """The nearest words of the same script: an English word has no Chinese neighbours, near as the vectors may be."""
    found: dict[str, list[str]] = {}
    for chinese in (True, False):
        sides = [[word for word in side if _is_chinese(word) == chinese] for side in (asked, among)]
        found |= nearest_words(vectors, *sides, count)
    return found


def _is_chinese(word: str) -> bool:
    return any(first <= ord(char) <= last for char in word for first, last in CHINESE)


def _embedding_vectors(teacher: LoadedModel, words: list[str]) -> dict[str, np.ndarray]:
    table = encoder_of(teacher.model).embeddings.word_embeddings.weight.numpy()  # type: ignore[arg-type]
    return word_vectors_from_pieces(words, teacher.tokenizer.encode_words(words), table)


def _masked_lm(
    options: ReplacementOptions, tokenizer: WordPieceTokenizer, seed: int, cache: Path
) -> LoadedModel | None:
    name = options.pretrained_bert_model
    if name is None:
        return None
    found = load_masked_lm(name, "--pretrained_bert_model", seed, cache, options.trust_pickle)
    if found.tokenizer.vocab != tokenizer.vocab:
        raise InputError(f"--pretrained_bert_model {name}: its vocabulary differs from the teacher's")
    return found


def _key(
    options: ReplacementOptions,
    words: WordRows,
    rows: Rows,
    teacher: LoadedModel,
    masked_lm: LoadedModel | None,
    seed: int,
) -> str:
    """Names the transfer set: changes with rows, models, vectors, settings and seed."""
    digest = hashlib.sha256()
    head = {
        "version": 2,
        **{"N": options.N, "M": options.M, "p": options.p, "seed": seed, "words": words.words},
        # Candidates come from the whole vocabulary; heads and activation change what equal weights say.
        "models": [model.model.config_dict() for model in (teacher, masked_lm) if model is not None],
        **tokenizer_identity(teacher.tokenizer),
    }
    digest.update(json.dumps(head, sort_keys=True).encode())
    for column in words.columns:
        digest.update(np.ascontiguousarray(column.values).data)
        digest.update(np.ascontiguousarray(column.offsets).data)
    if rows.labels is not None:
        digest.update(rows.labels.tobytes())
    for model in filter(None, (teacher, masked_lm)):
        digest.update(weights_checksum(model).encode())
    if options.glove_embs:
        with open(options.glove_embs, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:24]


def _write(
    folder: Path,
    key: str,
    words: WordRows,
    units: list[str],
    candidates: Candidates,
    rows: Rows,
    options: ReplacementOptions,
    seed: int,
) -> TransferSet:
    sides = len(words.columns)

    def change(copy: int, start: int, block: tuple[Ragged, ...], rng: np.random.Generator) -> tuple[Ragged, ...]:
        turn = copy // options.N
        changed = []
        for number, column in enumerate(block):
            first, last = column.offsets[0], column.offsets[-1]
            slots = candidates.slots[number][first:last]
            # Of a pair the copies change one text; the other is the original, not what the copy before made of it.
            changed.append(
                replaced_copy(column, slots, candidates, options.p, rng) if turn == number else column.compact()
            )
        return tuple(changed)

    return write_transfer_set(
        folder,
        units,
        "bert_word",
        key,
        tuple(c.compact() for c in words.columns),
        rows.labels,
        sides * options.N,
        change,
        seed,
    )
