"""Vocabularies made out of texts, for models that start from random weights or begin to read another language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from console import InputError
from data.corpus import PLAIN, Reading, documents, shares
from data.tokenization import SPECIAL_TOKENS, BertWords

# Words of a vocabulary: rows of a single task hold no more that occur often enough to be learnt.
WORDS = 20_000
# Bytes of text that are read at a time.
SHARE = 8 << 20


def vocabulary_of(texts: Iterable[str], language: str) -> list[str]:
    """Special tokens and the pieces of texts in lower case: characters of Chinese, words and characters of English.

    The same texts give the same vocabulary. (Word pieces as the ``tokenizers`` library learns them do not: its trainer
    breaks ties differently in every process.)

    Args:
        texts: rows of a task.
        language: of the registry.
    """
    split, words = BertWords(lowercase=True), Counter[str]()
    for text in texts:
        words.update(split(text).split())
    # Characters that stand within a word: Chinese ones and marks are words of their own.
    inside = {char for word in words for char in word[1:]}
    single = characters(words, within=inside.__contains__)
    if language == "zh":
        return single
    # By count, then by spelling: the order of the texts has no say.
    often = sorted((-count, word) for word, count in words.items() if count > 1 and len(word) > 1)
    return list(dict.fromkeys([*single, *(word for _, word in often[:WORDS])]))


def vocabulary_of_corpus(
    files: Sequence[Path],
    min_count: int,
    max_words: int,
    is_word: Callable[[str], bool] = lambda word: True,
    reading: Reading = PLAIN,
) -> list[str]:
    """Special tokens, the characters of raw text in lower case, and its commonest words of several characters.

    Chinese characters are words of their own. Characters of words may also stand within a word, so that every word
    whose characters are known can be read.

    Args:
        files: of text, as :func:`data.corpus.corpus_files` finds them.
        min_count: rarer characters and words are left out.
        max_words: of several characters, at most.
        is_word: whether a word of several characters is to be read.
        reading: what a document is in these files.

    Raises:
        InputError: files that cannot be read, or in which nothing occurs so often.
    """
    split = BertWords(lowercase=True)
    single, words = Counter[str](), Counter[str]()
    found = (document for share in shares(files, SHARE, reading=reading) for document in documents(share))
    for line in (line for document in found for line in document):
        for word in split(line).split():
            single.update(word)
            if len(word) > 1 and is_word(word):
                words[word] += 1
    known = sorted(char for char, count in single.items() if count >= min_count)
    if not known:
        raise InputError(f"--input_dir: nothing occurs {min_count:,} times in {len(files):,} file(s)")
    within = sorted({char for word in words for char in word} & set(known))
    whole = [word for word, count in words.most_common(max_words) if count >= min_count]
    return list(dict.fromkeys([*SPECIAL_TOKENS, *known, *(f"##{char}" for char in within), *whole]))


def characters(texts: Iterable[str], within: Callable[[str], bool] = str.isascii) -> list[str]:
    """Special tokens and every character of the texts, in lower case.

    Args:
        texts: any.
        within: whether a character may also stand within a word, where it is an entry of its own.
    """
    found = sorted({char for text in texts for char in text.lower() if not char.isspace()})
    return [*SPECIAL_TOKENS, *found, *(f"##{char}" for char in found if within(char))]
