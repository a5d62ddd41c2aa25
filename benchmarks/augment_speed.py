"""Augmentation and encoding for student and teacher: ours against a plain loop of the published kind.

    python -m benchmarks.augment_speed --data_dir DIR --chinese_dir DIR

The loop makes every copy of every row with Python's ``random``, drops duplicates by text, and encodes every copy with
PaddleNLP's Python ``BertTokenizer`` for the teacher and, for Chinese, with jieba for the student; one thread, as
published. Rows are those that come out, both sides' counted alike.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import Side, Turn, alternate, parser, stock_environment, write_result
from console import run_script

MODULE = "benchmarks.augment_speed"
N_ITER = 10


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--chinese_dir", required=True, help="folder with ChnSentiCorp")
    made.add_argument("--turns", type=int, default=4)
    made.add_argument("--rows", type=int, default=2000, help="rows of a turn before augmentation")
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    figures: dict[str, Any] = {"n_iter": N_ITER, "rows_before": arguments.rows}
    for task, folder in (("sst-2", arguments.data_dir), ("chnsenticorp", arguments.chinese_dir)):
        # The Chinese rows are eleven times as long.
        count = arguments.rows if task == "sst-2" else arguments.rows // 4
        options = {"task_name": task, "data_dir": folder, "rows": count, "seed": arguments.seed}
        rates = alternate(
            [
                Side("ours", f"{MODULE}:ours", options, dict(os.environ)),
                Side("published", f"{MODULE}:published", options, stock_environment(kernels=True)),
            ],
            arguments.turns,
        )
        found = {name: rate["rows_per_second"] for name, rate in rates.items()}
        figures[task] = {"rows_per_second": found, "ratio": found["ours"] / found["published"]}
    write_result("augment_speed", arguments, figures, time.perf_counter() - began)


def _rows(task_name: str, data_dir: str, rows: int, seed: int):  # noqa: ANN202 - Rows and Task, loaded late
    import numpy as np

    from data.sources import find_split, read_rows
    from data.tasks import get_task

    found, task = read_rows(find_split(data_dir, "train"), get_task(task_name))
    return found.take(np.random.default_rng(seed).permutation(len(found))[:rows]), task


def _teacher_vocabulary(task_name: str, texts: list[str]) -> list[str]:
    """The bundled teacher's pieces; for Chinese, of which no teacher is at hand, every character that occurs."""
    from data.tokenization import SPECIAL_TOKENS, read_vocab
    from models.pretrained import bundled_folder

    if task_name == "sst-2":
        return read_vocab(bundled_folder() / "vocab.txt")
    return list(dict.fromkeys([*SPECIAL_TOKENS, *"".join(texts).lower().replace(" ", "")]))


def ours(task_name: str, data_dir: str, rows: int, seed: int) -> Turn:
    """The transfer set, as ids for student and teacher."""
    from data.augment import NGRAM_RANGE, Augmentation
    from data.tokenization import InputEncoder, JiebaTokenizer, WordPieceTokenizer
    from data.transfer import build_transfer_set

    found, task = _rows(task_name, data_dir, rows, seed)
    teacher = WordPieceTokenizer(_teacher_vocabulary(task_name, found.texts[0]))
    chinese = task.language == "zh"
    student = JiebaTokenizer.from_texts(found.texts[0], 1 << 30) if chinese else teacher
    how = Augmentation(n_iter=N_ITER, ngram_range=NGRAM_RANGE[task.language])

    def turn() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            made = build_transfer_set(found, student, how, seed, Path(folder) / "t", whole_words=chinese)
            for tokenizer, layout in ((teacher, "bert"), (student, "plain")):
                InputEncoder(tokenizer, 128, layout).arrange(made.encode(tokenizer))
            return {"rows": len(made)}

    return turn


def published(task_name: str, data_dir: str, rows: int, seed: int) -> Turn:
    """The same work row by row."""
    import jieba
    from paddlenlp.transformers import BertTokenizer

    from data.augment import NGRAM_RANGE

    found, task = _rows(task_name, data_dir, rows, seed)
    vocabulary = _teacher_vocabulary(task_name, found.texts[0])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        teacher = BertTokenizer(str(Path(folder) / "vocab.txt"))
    chinese = task.language == "zh"
    low, high = NGRAM_RANGE[task.language]
    words_of = jieba.lcut if chinese else teacher.tokenize
    ids = {word: i for i, word in enumerate(dict.fromkeys(w for text in found.texts[0] for w in words_of(text)))}
    rng = random.Random(seed)

    def copy(words: list[str]) -> list[str]:
        words = [("[MASK]" if rng.random() < 0.1 else word) for word in words]
        if rng.random() < 0.25:
            n = min(rng.randint(low, high), len(words))
            start = rng.randint(0, len(words) - n)
            words = words[start : start + n]
        return words

    def turn() -> dict[str, float]:
        texts = {}
        for text in found.texts[0]:
            words = words_of(text)
            for made in (words, *(copy(words) for _ in range(N_ITER))):
                joined = "".join(made) if chinese else teacher.convert_tokens_to_string(made)
                texts.setdefault(joined, made)
        for text in texts:
            teacher(text, max_seq_len=128)
            # The published student tokenizes the text anew.
            if chinese:
                [ids.get(word, 0) for word in jieba.cut(text)]
            else:
                teacher.convert_tokens_to_ids(teacher.tokenize(text))
        return {"rows": len(texts)}

    return turn


if __name__ == "__main__":
    raise SystemExit(run_script(main))
