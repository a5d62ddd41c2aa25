"""Vocabularies made out of texts, for models that start from random weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from data.tokenization import SPECIAL_TOKENS, BertWords

# Words of a vocabulary: rows of a single task hold no more that occur often enough to be learnt.
WORDS = 20_000


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


def characters(texts: Iterable[str], within: Callable[[str], bool] = str.isascii) -> list[str]:
    """Special tokens and every character of the texts, in lower case.

    Args:
        texts: any.
        within: whether a character may also stand within a word, where it is an entry of its own.
    """
    found = sorted({char for text in texts for char in text.lower() if not char.isspace()})
    return [*SPECIAL_TOKENS, *found, *(f"##{char}" for char in found if within(char))]
