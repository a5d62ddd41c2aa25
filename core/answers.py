"""How near an answer comes to accepted ones: exact match and F1, as the tasks' official scripts count.

Chinese: CMRC 2018 (Cui et al. 2019): marks are left out, Chinese characters count one by one and other words as they
stand between blanks, and F1 is over the longest run that both answers share. English: SQuAD (Rajpurkar et al. 2016):
marks and articles are left out, and F1 is over the words that both share. Answers count by the nearest accepted one.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from data.questions import Questions

# The marks that the official script of CMRC 2018 leaves out.
CHINESE_MARKS = frozenset([*"-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』", "……"])
CHINESE = re.compile("[\u4e00-\u9fa5]")
ARTICLES = re.compile(r"\b(a|an|the)\b")


def plain_chinese(text: str) -> str:
    """Without case, marks, and blanks around."""
    return "".join(char for char in text.lower().strip() if char not in CHINESE_MARKS)


def chinese_units(text: str) -> list[str]:
    """Chinese characters one by one, what stands between them by blanks; marks left out."""
    units: list[str] = []
    other = ""
    for char in plain_chinese(text):
        if CHINESE.match(char):
            units += [*other.split(), char]
            other = ""
        else:
            other += char
    return [*units, *other.split()]


def longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest run of units that stands in both."""
    longest = 0
    row = [0] * (len(second) + 1)
    for one in first:
        before = 0
        for place, other in enumerate(second, 1):
            row[place], before = (before + 1 if one == other else 0), row[place]
            longest = max(longest, row[place])
    return longest


def plain_english(text: str) -> str:
    """Without case, marks, articles, and further blanks."""
    kept = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", kept).split())


def exact_match(found: str, accepted: Sequence[str], language: str = "zh") -> float:
    """1 where the answer is one of the accepted ones, else 0."""
    plain = plain_chinese if language == "zh" else plain_english
    return float(any(plain(found) == plain(answer) for answer in accepted))


def f1(found: str, accepted: Sequence[str], language: str = "zh") -> float:
    """Harmonic mean of the shares of both answers that are common; of the best of the accepted ones."""
    return max(_f1(found, answer, language) for answer in accepted)


def _f1(found: str, answer: str, language: str) -> float:
    if language == "zh":
        ours, theirs = chinese_units(found), chinese_units(answer)
        common = longest_common_run(ours, theirs)
    else:
        ours, theirs = plain_english(found).split(), plain_english(answer).split()
        common = sum((Counter(ours) & Counter(theirs)).values())
    if not common:
        return 0.0
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


def score(answers: Sequence[str], asked: Questions, language: str) -> dict[str, float]:
    """Means over all questions.

    Args:
        answers: in the order of the questions.
        asked: with accepted answers.
        language: of the task.

    Returns:
        ``em`` and ``f1``, from 0 to 1.
    """
    both = [
        (exact_match(answer, accepted, language), f1(answer, accepted, language))
        for answer, accepted in zip(answers, asked.answers, strict=True)
    ]
    return {"em": sum(em for em, _ in both) / len(both), "f1": sum(value for _, value in both) / len(both)}
