"""Cuts running text into sentences, for rows without labels that come as whole documents."""

from __future__ import annotations

import re
from collections.abc import Iterator

MARKUP = re.compile(r"<[a-zA-Z/][^<>]{0,200}>")
# A stop, marks that close with it, and white space; or a stop glued to the next sentence's capital ("it ends.The").
# A match begins where a row of stops does: else a long row would be tried from each of its stops.
ENGLISH = re.compile(r"(?:(?<![.!?…])[.!?…]+[\"'”’)\]]*(?:\s+|$)|(?<=[a-z)])[.!?]+(?=[A-Z][a-z]))")
CHINESE = re.compile(r"[。！？!?；;…]+[”’」』）)\"']*\s*")
# Abbreviations that end in a stop without ending a sentence.
ABBREVIATION = re.compile(r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e|jr|sr)|\b[a-z])\.$", re.IGNORECASE)


def split_sentences(text: str, language: str = "en") -> Iterator[str]:
    """Yields the sentences of ``text``, each with its closing marks; pieces without a letter or digit are left out.

    Args:
        text: running text; tags such as ``<br />`` count as white space.
        language: ``en`` or ``zh``.
    """
    text = MARKUP.sub(" ", text)
    start = 0
    for stop in (CHINESE if language == "zh" else ENGLISH).finditer(text):
        short = language == "en" and stop.group().rstrip() == "." and stop.end() < len(text)
        # What stands right before the stop is enough, and the whole sentence may be long.
        if short and ABBREVIATION.search(text, max(start, stop.start() - 8), stop.start() + 1):
            continue
        sentence = text[start : stop.end()].strip()
        start = stop.end()
        if any(char.isalnum() for char in sentence):
            yield sentence
    rest = text[start:].strip()
    if any(char.isalnum() for char in rest):
        yield rest
