"""Parts of speech of words, and replacement by another word of the same part (Tang et al. 2019, section 2.3)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from console import InputError, progress
from data.ragged import Ragged
from data.tokenization import MASK

LANGUAGE_OF_TAGGER = {"textblob": "en", "jieba": "zh"}
SPACY_MODELS = {"en": "en_core_web_sm", "zh": "zh_core_web_sm"}
MASK_TAG = "[MASK]"

# Takes rows of words, yields their tags, row by row and as many as there are words.
Tagger = Callable[[Iterable[Sequence[str]]], Iterator[list[str]]]


@dataclass(frozen=True)
class TaggedRows:
    """Rows with the part of speech of every unit, and what may stand in for a unit.

    Attributes:
        tags: tag ids, one :class:`Ragged` per text column, as long as the units.
        units: the unit ids that occur under each tag, tag after tag.
        weights: running sum of their numbers of occurrences, [units + 1].
        start: where each tag begins in ``units``, and the end, [tags + 1].
    """

    tags: tuple[Ragged, ...]
    units: np.ndarray
    weights: np.ndarray
    start: np.ndarray

    def slice(self, start: int, stop: int) -> tuple[Ragged, ...]:
        """The tags of the rows in [start, stop), column by column."""
        return tuple(column.slice(start, stop).compact() for column in self.tags)

    def draw(self, tags: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A unit for every tag, by its frequency in the rows among the units of that tag."""
        low, high = self.weights[self.start[tags]], self.weights[self.start[tags + 1]]
        where = low + rng.random(len(tags)) * (high - low)
        # Rounding may reach the next tag's first unit: the last one of the tag is meant then.
        found = np.searchsorted(self.weights, where, side="right") - 1
        return self.units[np.minimum(found, self.start[tags + 1] - 1)]


def tag_rows(columns: Sequence[Ragged], units: Sequence[str], tagger: Tagger) -> TaggedRows:
    """Tags all rows and counts which unit occurs how often under which tag.

    Args:
        columns: unit ids, one :class:`Ragged` per text column.
        units: the strings behind the ids.
        tagger: see :func:`make_tagger`.
    """
    ids: dict[str, int] = {}
    tags = []
    for column in columns:
        words = ([units[i] for i in column[row]] for row in range(len(column)))
        found = progress(tagger(words), "parts of speech", len(column))
        # Masks in the rows are no words: they stand for each other alone.
        values = [
            ids.setdefault(MASK_TAG if units[unit] == MASK else tag, len(ids))
            for row, row_tags in enumerate(found)
            for unit, tag in zip(column[row], row_tags, strict=True)
        ]
        tags.append(Ragged.from_lengths(np.asarray(values, np.int16), column.lengths))
    every = np.concatenate([column.compact().values for column in columns]).astype(np.int64)
    every_tag = np.concatenate([column.values for column in tags]).astype(np.int64)
    # A pair of tag and unit as one number, so that sorting puts the units of a tag together.
    pairs, counts = np.unique(every_tag * len(units) + every, return_counts=True)
    start = np.searchsorted(pairs, np.arange(len(ids) + 1) * len(units))
    weights = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    return TaggedRows(tuple(tags), pairs % len(units), weights, start)


def make_tagger(name: str, language: str, spacy_model: str | None = None) -> Tagger:
    """A tagger by its name.

    Args:
        name: one of :data:`data.tasks.TAGGERS`; ``auto`` takes jieba for Chinese and TextBlob for English.
        language: of the rows.
        spacy_model: an installed model, for ``spacy``.

    Raises:
        InputError: it is not installed, or reads another language.
    """
    if name == "auto":
        name = "jieba" if language == "zh" else "textblob"
    if LANGUAGE_OF_TAGGER.get(name, language) != language:
        raise InputError(f"--pos_tagger {name}: it reads {LANGUAGE_OF_TAGGER[name]}, the rows are {language}")
    if name == "spacy":
        return _spacy(spacy_model or SPACY_MODELS[language])
    return _jieba_tags if name == "jieba" else _textblob()


def _jieba_tags(rows: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    """jieba's tags in the text; of rows that its tagger cuts into other words, its dictionary's tags of the words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        from jieba import posseg

    posseg.dt.initialize()
    known: dict[str, str] = {}

    def tag(word: str) -> str:
        if word not in known:
            known[word] = posseg.dt.word_tag_tab.get(word) or posseg.dt.lcut(word)[-1].flag
        return known[word]

    for words in rows:
        found = posseg.dt.lcut("".join(words))
        same = [pair.word for pair in found] == list(words)
        yield [pair.flag for pair in found] if same else [tag(word) for word in words]


def _textblob() -> Tagger:
    try:
        from textblob.en import tag

        with warnings.catch_warnings():
            # It reads its lexicon at the first call and leaves the file to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            tag("a", tokenize=False)
    except ImportError as error:
        raise InputError(f"--pos_tagger textblob: not installed ({error}); run make setup, or choose another") from None

    def tags(rows: Iterable[Sequence[str]]) -> Iterator[list[str]]:
        for words in rows:
            found = [tagged for _, tagged in tag(" ".join(words), tokenize=False)] if words else []
            if len(found) != len(words):
                # A word in which TextBlob sees several: such rows are tagged word by word.
                found = [(tag(word, tokenize=False) or [(word, "NN")])[-1][1] for word in words]
            yield found

    return tags


def _spacy(model: str) -> Tagger:
    try:
        import spacy

        language = spacy.load(model, exclude=["parser", "ner", "lemmatizer"])
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"--pos_tagger spacy: spaCy with the model {model} is needed and is not installed ({reason}); "
            f"install both into this environment, or choose another tagger"
        ) from None

    def tags(rows: Iterable[Sequence[str]]) -> Iterator[list[str]]:
        docs = (spacy.tokens.Doc(language.vocab, words=list(words)) for words in rows)
        for doc in language.pipe(docs):
            yield [token.tag_ for token in doc]

    return tags
