"""Chinese words by jieba: of one text, or of many in several processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from console import InputError
from files import cache_folder

MASK = "[MASK]"
# A process loads its dictionary in most of a second, in which jieba cuts about half a million characters.
PARALLEL_FROM = 2_000_000
BLOCK = 1000


# jieba cuts what lies between two marks at once, in a time that grows with the square of its length.
LONGEST_RUN = 2_000
# What jieba takes for one run.
RUN = re.compile(r"[\u4E00-\u9FD5a-zA-Z0-9+#&._%-]+")
MARKS = re.compile(r"[+#&._%-]")


def jieba_words(text: str) -> list[str]:
    """jieba's words, white space left out; ``[MASK]`` stays one word.

    Within more than 2,000 characters without a mark a word may be cut in two.
    """
    return [word for part in text.split() for word in ([part] if part == MASK else _cut(part))]


def _cut(part: str) -> list[str]:
    if len(part) <= LONGEST_RUN:
        return load_jieba().lcut(part)
    words: list[str] = []
    start = 0
    for run in RUN.finditer(part):
        words += load_jieba().lcut(part[start : run.start()])
        for place in range(run.start(), run.end(), LONGEST_RUN):
            words += load_jieba().lcut(part[place : min(place + LONGEST_RUN, run.end())])
        start = run.end()
    return words + load_jieba().lcut(part[start:])


def beginning(text: str, characters: int) -> str:
    """The first characters of a text, white space not counted, and what follows up to the end of a run or so."""
    if len(text) <= characters + LONGEST_RUN:
        return text
    end, counted = 0, 0
    for word in re.finditer(r"\S+", text):
        if counted + len(word.group()) >= characters:
            end = word.start() + characters - counted
            break
        counted, end = counted + len(word.group()), word.end()
    inside = RUN.match(text, end) if end else None
    # The last words may depend on what follows them in their run.
    return text[: min(inside.end(), end + LONGEST_RUN) if inside else end]


def segment(texts: Sequence[str], processes: int | None = None) -> Iterator[list[str]]:
    """The words of every text, in order; several processes share the work when it is large.

    Args:
        texts: any number.
        processes: how many; one per core when left out, and none but this one for few texts.
    """
    wanted = len(os.sched_getaffinity(0)) if processes is None else processes
    if wanted < 2 or (processes is None and sum(map(len, texts)) < PARALLEL_FROM):
        yield from map(jieba_words, texts)
        return
    blocks = [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]
    workers = [_Worker() for _ in range(min(wanted, len(blocks)))]
    try:
        for worker, block in zip(workers, blocks, strict=False):
            worker.send(block)
        for number in range(len(blocks)):
            worker = workers[number % len(workers)]
            found = worker.receive()
            if number + len(workers) < len(blocks):
                worker.send(blocks[number + len(workers)])
            yield from found
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process of its own: forking this one is not safe once the matrix libraries have started their threads."""

    def __init__(self) -> None:
        path = os.pathsep.join(
            filter(None, [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")])
        )
        self._process = subprocess.Popen(
            # Without the folder it is started in, which may have a package of the same name.
            [sys.executable, "-c", "import sys; del sys.path[0]; from data.segmentation import serve; serve()"],
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def send(self, texts: Sequence[str]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(texts) + "\n")
        self._process.stdin.flush()

    def receive(self) -> list[list[str]]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process that cuts texts into words ended early; its own output above says why")
        return json.loads(line)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def serve() -> None:
    """What a worker does: a block of texts per line in, their words per line out."""
    for line in sys.stdin:
        print(json.dumps([jieba_words(text) for text in json.loads(line)]), flush=True)


def many_words(lines: Sequence[str]) -> list[list[str]]:
    """The words of :func:`jieba_words` for many lines at once, most of them by jieba's twin in Rust.

    The twin cuts runs of Chinese characters, letters and digits alike (one word in half a million is another one, where
    two ways to cut are as probable); of runs with ``.``, ``-`` and such it makes other words: these are left to jieba.
    """
    runs: list[str] = []
    # The words of a line; None where those of the next run belong.
    plans = [list(_planned(line, runs)) for line in lines]
    cut = _cut_runs(runs)
    return [[word for item in plan for word in (next(cut) if item is None else (item,))] for plan in plans]


def _planned(line: str, runs: list[str]) -> Iterator[str | None]:
    for part in line.split():
        if part == MASK:
            yield part
            continue
        start = 0
        for run in RUN.finditer(part):
            # What lies between runs are words of a character each.
            yield from part[start : run.start()]
            start = run.end()
            for place in range(run.start(), run.end(), LONGEST_RUN):
                piece = part[place : min(place + LONGEST_RUN, run.end())]
                if MARKS.search(piece):
                    yield from load_jieba().lcut(piece)
                else:
                    runs.append(piece)
                    yield None
        yield from part[start:]


def _cut_runs(runs: Sequence[str]) -> Iterator[list[str]]:
    """The words of runs, all cut in one call: a call for each would take as long as the cutting."""
    import rjieba

    words: list[str] = []
    for word in rjieba.cut("\n".join(runs), True) if runs else ():
        if word == "\n":
            yield words
            words = []
        else:
            words.append(word)
    if runs:
        yield words


SEGMENTERS = ("jieba", "ltp")
LTP_MODEL = "LTP/small"


def segmenter(name: str, ltp_model: str = LTP_MODEL) -> Callable[[Sequence[str]], Iterable[list[str]]]:
    """What cuts lines into words, in this process.

    Args:
        name: of :data:`SEGMENTERS`.
        ltp_model: folder or name of LTP's model.

    Raises:
        InputError: it is not installed, or its model cannot be had.
    """
    if name == "jieba":
        return many_words
    ltp = _load_ltp(ltp_model)
    return lambda lines: [[word for word in words if not word.isspace()] for words in _ltp_words(ltp, lines)]


def _ltp_words(ltp, lines: Sequence[str]) -> list[list[str]]:  # noqa: ANN001 - of a package that may not be there
    # It takes no empty line.
    known = [line for line in lines if line.strip()]
    words = iter(ltp.pipeline(known, tasks=["cws"]).cws if known else [])
    return [next(words) if line.strip() else [] for line in lines]


@cache
def _load_ltp(model: str):  # noqa: ANN202 - of a package that may not be there
    try:
        from ltp import LTP
    except ImportError as error:
        raise InputError(f"--segmenter ltp: cannot be loaded ({error}); pip install ltp, or use jieba") from error
    try:
        return LTP(model)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"--ltp_model {model}: cannot be loaded ({reason})") from error


@cache
def load_jieba():  # noqa: ANN201 - a module
    """jieba without its notes; the dictionary is read once a process."""
    import logging
    import warnings

    with warnings.catch_warnings():
        # It imports pkg_resources, which warns users of something that only its authors can change.
        warnings.simplefilter("ignore", UserWarning)
        import jieba

    jieba.setLogLevel(logging.CRITICAL)
    # Its cache is a dump that runs code when it is read: not from a folder that others can write to.
    folder = cache_folder() / "jieba"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    jieba.dt.tmp_dir = str(folder)
    return jieba
