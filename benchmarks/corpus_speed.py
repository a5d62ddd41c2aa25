"""Instances of masked language modelling from Chinese text: ours with a process per core against a plain Python loop.

    python -m benchmarks.corpus_speed --data_dir DIR_WITH_TEXT

The loop works as the published script does: jieba's words line by line, then for each of the five passes windows of
lists, and masks drawn by shuffling lists of words. It writes nothing; ours writes its shards.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from benchmarks.common import Side, Turn, compare, stock_environment
from console import run_script
from data.corpus import corpus_files, documents, shares
from data.segmentation import jieba_words, load_jieba, many_words
from mlm_distill.corpus import create
from mlm_distill.options import CorpusOptions

MODULE = "benchmarks.corpus_speed"
LENGTH, STRIDE, PROB, MOST, PASSES, SHORT = 512, 256, 0.15, 20, 5, 0.1


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    compare("corpus_speed", __doc__ or "", argv, sides, figures)


def sides(arguments: argparse.Namespace) -> list[Side]:
    """Both over the same text; the loop reads less of it a turn: both are rates."""
    text = str(arguments.data_dir)
    WORDS.update(same_words(text))
    return [
        Side("ours", f"{MODULE}:ours", {"text": text, "megabytes": 30}, dict(os.environ)),
        Side("loop", f"{MODULE}:loop", {"text": text, "characters": 60_000}, stock_environment(kernels=False)),
    ]


def figures(rates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rows a second, and ours in those of the loop; and whether both read the same words."""
    rows = {name: rate["rows_per_second"] for name, rate in rates.items()}
    return {"rows_per_second": rows, "ratio": rows["ours"] / rows["loop"], "words": WORDS}


# Filled when the sides are made: the comparison of words goes over more text than a turn does.
WORDS: dict[str, int] = {}


def same_words(text: str, lines_of_a_file: int = 500) -> dict[str, int]:
    """How many of the words that jieba finds are ours, of the first lines of every file."""
    lines: list[str] = []
    for path in corpus_files([text]):
        with open(path, encoding="utf-8") as file:
            lines += islice(file, lines_of_a_file)
    found = {"words": 0, "lines": len(lines), "lines_with_other_words": 0}
    for line, ours_ in zip(lines, many_words(lines), strict=True):
        theirs = jieba_words(line)
        found["words"] += len(theirs)
        found["lines_with_other_words"] += theirs != ours_
    return found


def _vocabulary(text: str) -> list[str]:
    """The characters of the text as a vocabulary: no Chinese one can be had offline."""
    found = {char for path in corpus_files([text]) for char in path.read_text(encoding="utf-8") if not char.isspace()}
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(found)]


def ours(text: str, megabytes: int) -> Turn:
    """``mlm_distill.create_pretraining_data`` with a process per core, over the first megabytes of the text."""
    place = Path(tempfile.mkdtemp())
    lines: list[str] = []
    size = 0
    for path in corpus_files([text]):
        for line in path.read_text(encoding="utf-8").splitlines():
            size += len(line.encode())
            lines.append(line)
            if size > megabytes << 20:
                break
    (place / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (place / "vocab.txt").write_text("\n".join(_vocabulary(text)) + "\n", encoding="utf-8")
    numbers = count()

    def turn() -> dict[str, float]:
        options = CorpusOptions(
            input_dir=(str(place / "text.txt"),),
            vocab_file=str(place / "vocab.txt"),
            output_dir=str(place / f"out-{next(numbers)}"),
            max_seq_length=LENGTH,
            doc_stride=STRIDE,
            dupe_factor=PASSES,
            ramdom_next=True,
            shard_megabytes=1,
            max_workers=len(os.sched_getaffinity(0)),
        )
        return {"rows": create(options)["rows"]}

    return turn


def loop(text: str, characters: int) -> Turn:
    """The plain loop over some documents."""
    vocabulary = {token: number for number, token in enumerate(_vocabulary(text))}
    known_tokens = list(vocabulary)
    every = (document for share in shares(corpus_files([text]), 1 << 20) for document in documents(share))
    rng = random.Random(0)

    def some() -> list[list[str]]:
        found: list[list[str]] = []
        size = 0
        for document in islice(every, 100_000):
            found.append(document)
            size += sum(map(len, document))
            if size > characters:
                break
        return found

    def turn() -> dict[str, float]:
        rows = 0
        known = some()
        tokenized = [_tokens(document) for document in known]
        for _ in range(PASSES):
            for number, tokens in enumerate(tokenized):
                start = 0
                while start < len(tokens):
                    target = rng.randint(2, LENGTH - 3) if rng.random() < SHORT else LENGTH - 3
                    window = tokens[start : start + target]
                    middle = rng.randint(1, max(1, len(window) - 1))
                    first, second = window[:middle], window[middle:]
                    if len(tokenized) > 1 and (rng.random() < 0.5 or not second):
                        other = tokenized[(number + rng.randint(1, len(tokenized) - 1)) % len(tokenized)]
                        begin = rng.randint(0, max(0, len(other) - 1))
                        second = other[begin : begin + target - len(first)]
                    _masked(["[CLS]", *first, "[SEP]", *second, "[SEP]"], vocabulary, known_tokens, rng)
                    rows += 1
                    start += STRIDE if start + target < len(tokens) else len(tokens)
        return {"rows": rows}

    return turn


def _tokens(document: list[str]) -> list[str]:
    """Characters, those that continue one of jieba's words marked."""
    found = []
    for line in document:
        for word in load_jieba().lcut(line):
            if not word.isspace():
                found += [char if place == 0 else f"##{char}" for place, char in enumerate(word)]
    return found


def _masked(
    tokens: list[str], vocabulary: Mapping[str, int], known: Sequence[str], rng: random.Random
) -> tuple[list[int], list[int]]:
    """Ids of a row with whole words hidden, and the places that are."""
    words: list[list[int]] = []
    for place, token in enumerate(tokens):
        if token in ("[CLS]", "[SEP]"):
            continue
        if words and token.startswith("##"):
            words[-1].append(place)
        else:
            words.append([place])
    rng.shuffle(words)
    output, hidden = list(tokens), []
    wanted = min(MOST, max(1, round(len(tokens) * PROB)))
    for word in words:
        if len(hidden) >= wanted:
            break
        if len(hidden) + len(word) > wanted:
            continue
        for place in word:
            drawn = rng.random()
            if drawn < 0.8:
                output[place] = "[MASK]"
            elif drawn < 0.9:
                output[place] = known[rng.randint(5, len(known) - 1)]
            hidden.append(place)
    return [vocabulary.get(token.removeprefix("##"), 1) for token in output], sorted(hidden)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
