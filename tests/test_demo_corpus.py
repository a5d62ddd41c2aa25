"""The built-in corpus: seeded, distinct, balanced, labelled rightly, and not solved by counting words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest

from data import demo_corpus
from data.demo_corpus import DemoRow, chinese_raw_text, english_raw_text, task_rows, write_folder
from data.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
ROWS = {
    "english_sentiment": demo_corpus.english_sentiment,
    "chinese_sentiment": demo_corpus.chinese_sentiment,
    "english_pairs": demo_corpus.english_pairs,
}
LINES = {"english_raw_text": english_raw_text, "chinese_raw_text": chinese_raw_text}
TASK_NAMES = ("sst-2", "chnsenticorp", "qqp")

DIGEST = """
import hashlib
from data import demo_corpus as corpus
rows = [make(400, 5) for make in (corpus.english_sentiment, corpus.chinese_sentiment, corpus.english_pairs)]
lines = [list(make(400, 5)) for make in (corpus.english_raw_text, corpus.chinese_raw_text)]
print(hashlib.sha256(repr((rows, lines)).encode()).hexdigest())
"""


@cache
def sample(name: str, count: int, seed: int) -> list[DemoRow]:
    """Rows that several tests look at, made once."""
    return ROWS[name](count, seed)


def digest(hash_seed: str) -> str:
    """The digest of a sample of everything, as a new interpreter with this hash seed makes it."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", DIGEST]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout


def words(text: str) -> list[str]:
    """Lower-case words; of Chinese, the characters."""
    return re.findall(r"[一-鿿]|[a-z0-9]+(?:[-'][a-z]+)*", text.lower())


def bag(row: DemoRow) -> list[str]:
    """The words of one text, or the words that two texts share and those that only one has."""
    if len(row.texts) == 1:
        return sorted(set(words(row.texts[0])))
    first, second = (set(words(text)) for text in row.texts)
    shared = len(first & second) / len(first | second)
    marks = [f"one {word}" for word in first ^ second] + [f"both {word}" for word in first & second]
    return [*sorted(marks), f"shared {round(10 * shared)}"]


def perceptron_accuracy(train: list[DemoRow], dev: list[DemoRow], epochs: int = 12) -> float:
    """Development accuracy of an averaged perceptron over bags of words."""
    weights: dict[str, float] = defaultdict(float)
    averaged: dict[str, float] = defaultdict(float)
    examples = [([*bag(row), "bias"], 1 if row.label == "1" else -1) for row in train]
    order, step = Random(0), 0
    for _ in range(epochs):
        order.shuffle(examples)
        for features, target in examples:
            step += 1
            if target * sum(weights[feature] for feature in features) <= 0:
                for feature in features:
                    weights[feature] += target
                    averaged[feature] += step * target
    final = {feature: weight - averaged[feature] / step for feature, weight in weights.items()}
    guesses = [sum(final.get(feature, 0.0) for feature in [*bag(row), "bias"]) > 0 for row in dev]
    return sum(guess == (row.label == "1") for guess, row in zip(guesses, dev, strict=True)) / len(dev)


@pytest.mark.parametrize("name", ROWS)
def test_rows_follow_the_seed_alone(name: str) -> None:
    first = ROWS[name](300, 1)
    assert first == ROWS[name](300, 1)
    assert first != ROWS[name](300, 2)
    assert len(first) == 300


def test_nothing_depends_on_hash_randomisation() -> None:
    assert digest("1") == digest("4242")


@pytest.mark.parametrize(
    ("name", "count"), [("english_sentiment", 20_000), ("chinese_sentiment", 10_000), ("english_pairs", 10_000)]
)
def test_rows_are_distinct_balanced_and_clean(name: str, count: int) -> None:
    rows = sample(name, count, 3)
    assert len({tuple(sorted(row.texts)) for row in rows}) == count
    assert {row.label for row in rows} == {"0", "1"}
    assert 0.45 <= sum(row.label == "1" for row in rows) / count <= 0.55
    for text in (text for row in rows for text in row.texts):
        assert text and text == text.strip()
        assert not re.search(r"[\t\r\n{}]|  ", text), text


@pytest.mark.parametrize("name", ["english_sentiment", "english_pairs"])
def test_english_texts_have_four_to_thirty_words_and_start_with_a_capital(name: str) -> None:
    for text in (text for row in sample(name, 3_000, 4) for text in row.texts):
        assert 4 <= len(text.split()) <= 30, text
        assert text[0].isupper() and text[-1] in ".?", text
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text, re.IGNORECASE), text


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_few_rows(count: int) -> None:
    for make in ROWS.values():
        rows = make(count, 0)
        assert len(rows) == count
        assert abs(2 * sum(row.label == "1" for row in rows) - count) <= 1


@pytest.mark.parametrize("name", [*ROWS, *LINES])
def test_a_count_out_of_range_names_the_limit(name: str) -> None:
    make: Callable[[int, int], object] = {**ROWS, **LINES}[name]
    limit = demo_corpus.LIMITS[name]
    with pytest.raises(ValueError, match=str(limit)):
        make(limit + 1, 0)
    with pytest.raises(ValueError, match=str(limit)):
        make(-1, 0)


@pytest.mark.parametrize("task_name", TASK_NAMES)
def test_words_alone_do_not_solve_a_task(task_name: str) -> None:
    train, dev = task_rows(task_name, 4_000, 1_000, 1)
    assert 0.6 < perceptron_accuracy(train, dev) < 0.9


@pytest.mark.parametrize("name", ["english_sentiment", "chinese_sentiment"])
def test_opinion_words_are_used_in_both_labels(name: str) -> None:
    rows = sample(name, 10_000, 2)
    for word in {"english_sentiment": ("engaging", "tedious"), "chinese_sentiment": ("热情", "敷衍")}[name]:
        labels = [row.label for row in rows if word in row.texts[0]]
        assert 0.25 < labels.count("1") / len(labels) < 0.75


@pytest.mark.parametrize(
    ("pattern", "flips"),
    [
        (r"^This \w+ is (?:anything but|far from|by no means|never) (\w+)\.$", True),
        (r"^There is not a single (\w+) scene in [\w ]+\.$", True),
        (r"^There is nothing (\w+) about [\w ]+\.$", True),
        (r"^This [\w-]+(?: film| version)? is far less (\w+) than [\w ]+\.$", True),
        (r"^This [\w-]+(?: film| version)? is far more (\w+) than [\w ]+\.$", False),
        (r"^You will not find an? more (\w+) \w+ this year\.$", False),
        (r"^.+ (?:but|yet) this \w+ is (?:really |very )?(\w+)\.$", False),
        (r"^(?:Although|While) .+, this \w+ is anything but (\w+)\.$", True),
    ],
)
def test_english_labels_mean_what_the_text_says(pattern: str, flips: bool) -> None:
    praise = {*demo_corpus._ENGLISH["adj+"], *demo_corpus._ENGLISH["short+"], *demo_corpus._ENGLISH["strong+"]}
    blame = {*demo_corpus._ENGLISH["adj-"], *demo_corpus._ENGLISH["short-"], *demo_corpus._ENGLISH["strong-"]}
    found = [
        (match[1], row) for row in sample("english_sentiment", 30_000, 6) if (match := re.match(pattern, row.texts[0]))
    ]
    assert found
    for word, row in found:
        assert word in praise | blame, row
        assert (row.label == "1") == ((word in praise) != flips), row


def test_a_negated_word_of_praise_is_blame() -> None:
    for seed in range(50):
        (blame,) = demo_corpus._english_review(Random(seed), False, "The story is {negated+}.")
        (praise,) = demo_corpus._english_review(Random(seed), True, "The story is {negated+}.")
        assert any(word in blame for side in ("adj+", "short+") for word in demo_corpus._ENGLISH[side]), blame
        assert any(word in praise for side in ("adj-", "short-") for word in demo_corpus._ENGLISH[side]), praise


@pytest.mark.parametrize("denial", ["一点也不", "并不", "完全不", "丝毫不", "根本不"])
def test_chinese_negation_turns_the_label(denial: str) -> None:
    things = [entry for domain in demo_corpus._ZH_THINGS.values() for entry in domain.values()]
    labels: dict[str, str] = {}
    for thing, good, bad in things:
        labels |= {f"{thing}{denial}{word}。": "0" for word in good.split()}
        labels |= {f"{thing}{denial}{word}。": "1" for word in bad.split()}
    found = [row for row in sample("chinese_sentiment", 30_000, 6) if row.texts[0] in labels]
    assert found
    assert all(labels[row.texts[0]] == row.label for row in found)


def test_the_clause_after_a_chinese_but_decides() -> None:
    verdicts = {
        "值得推荐": "1",
        "让我很满意": "1",
        "没有让我失望": "1",
        "不值得推荐": "0",
        "没有让我满意": "0",
        "让我很失望": "0",
    }
    rows = [row for row in sample("chinese_sentiment", 10_000, 6) if "但" in row.texts[0]]
    own = [
        (match[1], row) for row in rows if (match := re.search(r"(?:本|套|小说|台|机器|电脑|里)(\w+)。$", row.texts[0]))
    ]
    decided = [(verdicts[verdict], row.label) for verdict, row in own if verdict in verdicts]
    assert {label for label, _ in decided} == {"0", "1"}
    assert all(expected == label for expected, label in decided)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (r"How do I get from (\w+) to (\w+) by train\?", r"How can I travel to (?P<b>\w+) from (?P<a>\w+) by train\?"),
        (r"Is (\w+) bigger than (\w+)\?", r"Is (?P<b>\w+) smaller than (?P<a>\w+)\?"),
        (r"Did (\w+) teach (\w+) chess\?", r"Was (?P<b>\w+) taught chess by (?P<a>\w+)\?"),
    ],
)
def test_a_pair_is_a_duplicate_when_its_roles_agree(first: str, second: str) -> None:
    seen = set()
    for row in sample("english_pairs", 50_000, 8):
        for texts in (row.texts, row.texts[::-1]):
            one, other = re.fullmatch(first, texts[0]), re.fullmatch(second, texts[1])
            if one and other:
                assert (row.label == "1") == (one.groups() == (other["a"], other["b"])), row
                seen.add(row.label)
    assert seen == {"0", "1"}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("count", [0, 1, 3, 9, 10, 500])
def test_raw_text_has_as_many_lines_as_asked_for(name: str, count: int) -> None:
    lines = list(LINES[name](count, 1))
    assert len(lines) == count
    assert lines == list(LINES[name](count, 1))
    if count:
        assert lines[0] and lines[-1]


@pytest.mark.parametrize("name", LINES)
def test_raw_text_is_distinct_sentences_in_documents(name: str) -> None:
    lines = list(LINES[name](30_000, 1))
    documents = [document.split("\n") for document in "\n".join(lines).split("\n\n")]
    assert all(3 <= len(document) <= 8 for document in documents)
    sentences = [line for line in lines if line]
    assert len(set(sentences)) == len(sentences)
    assert not any(re.search(r"[\t\r\n{}]", sentence) for sentence in sentences)


@pytest.mark.parametrize("task_name", TASK_NAMES)
def test_train_and_dev_share_no_text(task_name: str) -> None:
    train, dev = task_rows(task_name, 900, 300, 1)
    assert (len(train), len(dev)) == (900, 300)
    assert not {frozenset(row.texts) for row in train} & {frozenset(row.texts) for row in dev}


def test_task_rows_refuses_what_it_does_not_have() -> None:
    with pytest.raises(KeyError):
        task_rows("mnli", 10, 10, 0)
    with pytest.raises(ValueError, match="negative"):
        task_rows("sst-2", 20, -10, 0)


@pytest.mark.parametrize("task_name", TASK_NAMES)
def test_the_written_files_hold_the_rows(task_name: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    write_folder(task_name, folder, 60, 20, 3)
    assert sorted(path.name for path in folder.iterdir()) == ["dev.tsv", "train.tsv"]
    task = TASKS[task_name]
    for name, rows in zip(("train.tsv", "dev.tsv"), task_rows(task_name, 60, 20, 3), strict=True):
        content = (folder / name).read_bytes()
        assert b"\r" not in content and content.endswith(b"\n") and not content.endswith(b"\n\n")
        header, *lines = content.decode("utf-8").removesuffix("\n").split("\n")
        assert header.split("\t") == [*task.text_columns, task.label_column]
        assert [line.split("\t") for line in lines] == [[*row.texts, row.label] for row in rows]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder("sst-2", tmp_path, 4, 4, 0)
    before = (tmp_path / "train.tsv").read_bytes()

    def refuse(source: object, target: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space"):
        write_folder("sst-2", tmp_path, 8, 4, 1)
    assert (tmp_path / "train.tsv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dev.tsv", "train.tsv"]
