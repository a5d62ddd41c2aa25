"""Reading comprehension: questions on passages, the windows that a model reads, and answers out of what it says.

Files are in the layout of SQuAD (Rajpurkar et al. 2016), which CMRC 2018 and DRCD share.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from console import InputError
from data.columns import Columns
from data.ragged import Ragged
from data.streams import generator
from data.tasks import QUESTIONS, SPANS, Task
from data.tokenization import CLS, SEP, WordPieceTokenizer

TEXTS = ("question", "context")
# Rows that no model answers stand in their file with an empty question, as two of CMRC 2018's.
QUESTION_TASKS: dict[str, Task] = {
    name: Task(name, TEXTS, "answers", metric=SPANS, language="zh", kind="span") for name in QUESTIONS
}
# Names of a split's file, the first that is there counts; CMRC 2018's training file is not to be had everywhere, and
# DRCD is published with its name in capitals.
FILES = {
    "train": ("train.json", "{task}_train.json", "{TASK}_training.json", "trial.json", "{task}_trial.json"),
    "dev": ("dev.json", "{task}_dev.json", "{TASK}_dev.json"),
}
LARGEST_FILE = 4 << 30
NOT_HERE = -1
LONGEST_ANSWER = 50


def own_questions(language: str) -> Task:
    """The task of a user's own files."""
    return Task("questions", TEXTS, "answers", metric=SPANS, language=language, kind="span")


@dataclass(frozen=True)
class Questions:
    """Questions on passages.

    Attributes:
        ids: their names in the file, [questions].
        questions: [questions].
        contexts: the passages.
        context_of: number of each question's passage, int64, [questions].
        answers: accepted answers of each question, in the order of the file; none where they are not known.
        starts: where each of them begins in its passage, -1 where it does not stand there.
        skipped: questions that were left out, for they ask nothing.
    """

    ids: list[str]
    questions: list[str]
    contexts: list[str]
    context_of: np.ndarray
    answers: list[list[str]]
    starts: list[list[int]]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Questions:
        """The named questions; passages stay."""
        return Questions(
            [self.ids[i] for i in rows],
            [self.questions[i] for i in rows],
            self.contexts,
            self.context_of[rows],
            [self.answers[i] for i in rows],
            [self.starts[i] for i in rows],
            self.skipped,
        )

    def passages(self, share: float, seed: int) -> tuple[Questions, Questions]:
        """All questions on most passages, and all on the others: a share of them, one at least."""
        numbers = np.unique(self.context_of)
        if len(numbers) < 2:
            raise InputError("holdout: the training questions are on a single passage")
        count = min(max(1, round(share * len(numbers))), len(numbers) - 1)
        held = generator(seed, "held-out passages").permutation(numbers)[:count]
        kept = np.isin(self.context_of, held)
        return self.take(np.flatnonzero(~kept)), self.take(np.flatnonzero(kept))


def find_questions(data_dir: str | os.PathLike[str], split: str, name: str) -> Path:
    """The file of a split.

    Raises:
        InputError: none there.
    """
    if not Path(data_dir).is_dir():
        raise InputError(f"--data_dir {data_dir}: no such folder")
    known = [pattern.format(task=name, TASK=name.upper()) for pattern in FILES[split]]
    for file in known:
        if (path := Path(data_dir) / file).is_file():
            return path
    raise InputError(f"--data_dir {data_dir}: no {split} file here; expected one of {', '.join(known)}")


def read_questions(path: str | os.PathLike[str], labelled: bool = True) -> Questions:
    """The questions in a file.

    Args:
        path: JSON in the layout of SQuAD.
        labelled: whether answers must be there.

    Raises:
        InputError: no such file, or not of that layout; names the place.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path}: more than {LARGEST_FILE >> 30} GB; cut it into parts")
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: expected a file, this is a folder") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 ({error})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
    found = Questions([], [], [], np.empty(0, np.int64), [], [])
    of: list[int] = []
    names: set[str] = set()
    skipped = 0
    for where, paragraph in _paragraphs(path, content):
        found.contexts.append(_text(paragraph, "context", f"{path}, {where}"))
        for number, asked in enumerate(_list(paragraph, "qas", f"{path}, {where}")):
            place = f"{path}, {where}.qas[{number}]"
            question = asked.get("question") if isinstance(asked, Mapping) else None
            if not isinstance(question, str):
                raise InputError(f"{place}: expected an object with a question")
            if not question.strip():
                skipped += 1
                continue
            answers, starts = _answers(asked, found.contexts[-1], place, labelled)
            name = asked.get("id", f"question-{len(found.ids) + 1}")
            if type(name) not in (str, int) or str(name) in names:
                raise InputError(f"{place}: id {name!r}: expected a text or a whole number that stands there once")
            names.add(_whole_text(str(name), f"{place}.id"))
            found.ids.append(str(name))
            found.questions.append(_whole_text(question, f"{place}.question"))
            found.answers.append(answers)
            found.starts.append(starts)
            of.append(len(found.contexts) - 1)
    if not found.ids:
        raise InputError(f"{path}: no questions")
    return Questions(
        found.ids, found.questions, found.contexts, np.asarray(of, np.int64), found.answers, found.starts, skipped
    )


def _paragraphs(path: Path, content: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, article in enumerate(_list(content, "data", str(path))):
        for place, paragraph in enumerate(_list(article, "paragraphs", f"{path}, data[{number}]")):
            yield f"data[{number}].paragraphs[{place}]", paragraph


def _list(value: Any, name: str, where: str) -> list[Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, list):
        raise InputError(f"{where}: expected an object with a list '{name}', as SQuAD's files have")
    return found


def _text(value: Any, name: str, where: str) -> str:
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, str) or not found.strip():
        raise InputError(f"{where}: expected a text '{name}' that is not empty")
    return _whole_text(found, f"{where}.{name}")


def _whole_text(text: str, where: str) -> str:
    """The text itself.

    Raises:
        InputError: half a surrogate pair is in it, which no file can hold.
    """
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise InputError(f"{where}: half a surrogate pair: this is not Unicode text")
    return text


def _answers(asked: Mapping[str, Any], context: str, where: str, labelled: bool) -> tuple[list[str], list[int]]:
    given = asked.get("answers", [])
    if not isinstance(given, list) or (labelled and not given):
        raise InputError(f"{where}: expected a list 'answers' that is not empty")
    texts, starts = [], []
    for answer in given:
        text = answer.get("text") if isinstance(answer, Mapping) else None
        if not isinstance(text, str):
            raise InputError(f"{where}: expected answers with a text")
        start = answer.get("answer_start", NOT_HERE)
        texts.append(_whole_text(text, f"{where}.answers"))
        starts.append(located(context, text, start if type(start) is int else NOT_HERE))
    return texts, starts


def located(context: str, text: str, start: int) -> int:
    """Where an answer stands: where its file says, or else the place nearest to that; -1 where it stands nowhere."""
    if not text:
        return NOT_HERE
    if start >= 0 and context.startswith(text, start):
        return start
    places, at = [], context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    return min(places, key=lambda place: abs(place - max(start, 0))) if places else NOT_HERE


@dataclass(frozen=True)
class Windows:
    """How passages are cut.

    Attributes:
        length: tokens of an input, special tokens included.
        stride: tokens of a passage between the beginnings of two windows.
        question: tokens of a question at most.
    """

    length: int = 512
    stride: int = 128
    question: int = 64

    @classmethod
    def of(cls, task: Task, length: int) -> Windows:
        """The windows that a model was trained with; of one that does not say, half of a short input is the question's.

        Args:
            task: of the model.
            length: of its inputs.
        """
        if task.windows is not None:
            return cls(length, *task.windows[:2])
        return cls(length, question=min(cls.question, length // 2))


def longest_answer(task: Task) -> int:
    """Tokens of an answer at most, as a model was trained with."""
    return task.windows[2] if task.windows is not None else LONGEST_ANSWER


@dataclass(frozen=True)
class Encoded:
    """What a model reads of questions.

    Attributes:
        columns: ``input_ids`` and ``token_type_ids``; a row for every window of every question.
        question: number of each window's question, int64, [windows].
        first: its first token of the passage, as counted in the passage, int64, [windows].
        begin: where that stands in the input, int64, [windows].
        spans: characters of every passage's tokens, [tokens, 2] each.
        labels: the first and last token of the answer in each input, int64, [windows, 2]; 0, 0 where it does not stand
            there; None where answers are not known.
    """

    columns: Columns
    question: np.ndarray
    first: np.ndarray
    begin: np.ndarray
    spans: Ragged
    labels: np.ndarray | None


def encode(asked: Questions, tokenizer: WordPieceTokenizer, how: Windows, labelled: bool = False) -> Encoded:
    """Lays questions out as ``[CLS] question [SEP] window [SEP]``.

    Args:
        asked: the questions.
        tokenizer: of the model.
        how: the windows.
        labelled: whether the places of answers are told; a question none of whose answers stands in its passage then
            teaches that there is nothing to be found.

    Raises:
        InputError: no room for a passage beside the questions.
    """
    if how.length - how.question - 3 < 1:
        raise InputError(f"--max_seq_length {how.length}: leaves no room beside questions of {how.question} tokens")
    cls, sep = tokenizer.token_id(CLS), tokenizer.token_id(SEP)
    passages, spans = tokenizer.encode_placed(asked.contexts)
    heads = tokenizer.encode(asked.questions).cut(np.asarray(how.question))
    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    question, first, begin, labels = [], [], [], []
    for number in range(len(asked)):
        head, passage = heads[number], passages[int(asked.context_of[number])]
        known = _tokens_of_answer(asked, number, spans[int(asked.context_of[number])]) if labelled else None
        room, start = how.length - len(head) - 3, 0
        while True:
            part = passage[start : start + room]
            before = len(head) + 2
            ids.append(np.concatenate([[cls], head, [sep], part, [sep]]).astype(np.int32))
            types.append(np.concatenate([np.zeros(before, np.int8), np.ones(len(part) + 1, np.int8)]))
            question.append(number)
            first.append(start)
            begin.append(before)
            inside = known is not None and known[0] >= start and known[1] < start + len(part)
            labels.append([known[0] - start + before, known[1] - start + before] if inside else [0, 0])  # type: ignore[index]
            if start + room >= len(passage):
                break
            start += min(how.stride, room)
    return Encoded(
        Columns({"input_ids": Ragged.from_rows(ids), "token_type_ids": Ragged.from_rows(types, np.int8)}),
        np.asarray(question, np.int64),
        np.asarray(first, np.int64),
        np.asarray(begin, np.int64),
        spans,
        np.asarray(labels, np.int64) if labelled else None,
    )


def _tokens_of_answer(asked: Questions, number: int, spans: np.ndarray) -> tuple[int, int] | None:
    """The first and the last token of the first answer that stands in the passage."""
    for text, start in zip(asked.answers[number], asked.starts[number], strict=True):
        if start < 0:
            continue
        inside = np.flatnonzero((spans[:, 1] > start) & (spans[:, 0] < start + len(text)))
        if len(inside):
            return int(inside[0]), int(inside[-1])
    return None


@dataclass(frozen=True)
class Answer:
    """An answer that was found.

    Attributes:
        text: as it stands in the passage.
        start: its first character there.
        score: sum of the logits of its two ends.
        probability: among the best answers to the question.
    """

    text: str
    start: int
    score: float
    probability: float


def best_answers(
    asked: Questions, encoded: Encoded, starts: Ragged, ends: Ragged, n_best: int = 20, longest: int = 50
) -> list[list[Answer]]:
    """The best answers to every question, over all of its windows.

    Args:
        asked: the questions.
        encoded: their windows.
        starts: how well an answer begins at each token of a window, [windows].
        ends: how well it ends there.
        n_best: how many answers.
        longest: tokens of an answer at most.

    Returns:
        For every question at least one answer, the best first.
    """
    found: list[dict[tuple[int, int], float]] = [{} for _ in range(len(asked))]
    lengths = encoded.columns["input_ids"].lengths  # type: ignore[union-attr]
    for window, number in enumerate(encoded.question.tolist()):
        begin, stop = int(encoded.begin[window]), int(lengths[window]) - 1
        spans = encoded.spans[int(asked.context_of[number])]
        offset = int(encoded.first[window]) - begin
        pairs = _best_pairs(starts[window][begin:stop], ends[window][begin:stop], n_best, longest)
        for first, last, score in pairs:
            place = (int(spans[first + begin + offset, 0]), int(spans[last + begin + offset, 1]))
            found[number][place] = max(score, found[number].get(place, -np.inf))
    answers = []
    for number, known in enumerate(found):
        context = asked.contexts[int(asked.context_of[number])]
        best = sorted(known.items(), key=lambda item: (-item[1], item[0]))[:n_best]
        scores = np.asarray([score for _, score in best], np.float64)
        shares = np.exp(scores - scores.max()) if len(scores) else scores
        answers.append(
            [
                Answer(context[start:stop], start, float(score), float(share / shares.sum()))
                for ((start, stop), score), share in zip(best, shares, strict=True)
            ]
            # A passage without a token, such as one of blanks, has no answer.
            or [Answer("", 0, 0.0, 1.0)]
        )
    return answers


def _best_pairs(starts: np.ndarray, ends: np.ndarray, n_best: int, longest: int) -> list[tuple[int, int, float]]:
    """Pairs of tokens with the largest sums, ends not before starts nor ``longest`` tokens or more behind them."""
    tokens = len(starts)
    if not tokens:
        return []
    # [tokens, lengths]: the sum for an answer that begins at a token and has a length.
    width = min(longest, tokens)
    padded = np.concatenate([ends, np.full(width - 1, -np.inf, ends.dtype)])
    sums = starts[:, None] + np.lib.stride_tricks.sliding_window_view(padded, width)
    count = min(n_best, int(np.isfinite(sums).sum()))
    order = np.argpartition(-sums, count - 1, axis=None)[:count]
    first, more = np.unravel_index(order, sums.shape)
    return [(int(a), int(a + b), float(sums[a, b])) for a, b in zip(first, more, strict=True)]


def as_questions(rows: Sequence[tuple[str, ...]]) -> Questions:
    """Pairs of question and passage."""
    contexts = list(dict.fromkeys(context for _, context in rows))
    place = {context: number for number, context in enumerate(contexts)}
    return Questions(
        [str(number) for number in range(len(rows))],
        [question for question, _ in rows],
        contexts,
        np.asarray([place[context] for _, context in rows], np.int64),
        [[] for _ in rows],
        [[] for _ in rows],
    )
