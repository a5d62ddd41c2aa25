"""Predicts labels: for texts on the command line, a file, or standard input, one JSON object a row.

python -m deploy.predict --model_dir outputs/exported --text "a gripping, funny film"
python -m deploy.predict --model_dir outputs/exported --input_file rows.tsv --output_file labels.jsonl
head -100 texts.txt | python -m deploy.predict --model_dir outputs/exported
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from args import Options, not_negative, option, parse, positive
from console import InputError, run_script, say
from data.sources import SKIP_HINT, BadRow, checked_text, decoded_lines, iterate_records
from data.store import new_file
from data.tasks import Task

SCRIPT = "deploy.predict"


@dataclass(frozen=True, kw_only=True)
class PredictOptions(Options):
    """Options of ``deploy.predict``."""

    model_dir: str = option(help="an export folder")
    text: tuple[str, ...] = option((), "texts to label")
    text_pair: tuple[str, ...] = option((), "the second texts of pairs, as many as --text")
    input_file: str | None = option(
        None, "a .tsv, .csv or .jsonl file with the task's text columns, or .txt with a text a line"
    )
    output_file: str | None = option(None, "where the predictions go (.jsonl); standard output when left out")
    skip_bad_rows: bool = option(False, "leave out rows that cannot be read instead of stopping")
    batch_size: int = option(32, "rows of a batch", check=positive)
    threads: int = option(0, "threads of the matrix kernels; 0 takes one a core", check=not_negative)
    device: str = option("cpu", "where to compute", choices=("cpu", "gpu"))

    def faults(self) -> list[str]:
        found = super().faults()
        if self.text and self.input_file:
            found.append("--text and --input_file exclude each other")
        if self.text_pair and len(self.text_pair) != len(self.text):
            found.append(f"--text_pair: expected as many texts as --text ({len(self.text)}), got {len(self.text_pair)}")
        return found


def main(argv: list[str]) -> None:
    """Parses the command line and predicts."""
    predict(parse(PredictOptions, argv, __doc__ or "", f"python -m {SCRIPT}"))


def predict(options: PredictOptions) -> int:
    """Writes predictions; returns the number of rows.

    Raises:
        InputError: the model or a row cannot be used; the output file is then left as it was.
    """
    if options.device == "gpu":
        from core.distributed import choose_device

        choose_device("gpu")
    if options.input_file and not Path(options.input_file).is_file():
        raise InputError(f"--input_file {options.input_file}: no such file")
    from deploy.predictor import Predictor

    predictor = Predictor(options.model_dir, options.threads or None, options.device)
    if options.text_pair and not predictor.is_pair:
        raise InputError(f"--text_pair: the model in {options.model_dir} reads single texts")
    if options.text and predictor.is_pair and not options.text_pair:
        raise InputError(f"--text_pair is missing: the model in {options.model_dir} reads pairs")
    rows = input_rows(options, predictor.task)
    count = 0
    with output(options.output_file) as file:
        for prediction in predictor.stream(rows, options.batch_size):
            file.write(json.dumps(prediction.as_dict(predictor.text_columns), ensure_ascii=False) + "\n")
            count += 1
    if options.output_file:
        say(f"{count:,} predictions in {options.output_file}")
    return count


def input_rows(options: PredictOptions, task: Task) -> Iterator[tuple[str, ...]]:
    """The rows to label, checked one by one as they are read."""
    columns = task.text_columns
    if options.text:
        yield from zip(*([options.text, options.text_pair] if options.text_pair else [options.text]), strict=True)
        return
    skipped = 0
    if options.input_file and Path(options.input_file).suffix != ".txt":
        source: Iterable = iterate_records(Path(options.input_file), task, labelled=False)
        name = options.input_file
    else:
        name = options.input_file or "standard input"
        source = _text_records(decoded_lines(options.input_file or sys.stdin.buffer), columns)
    for line, record in source:
        try:
            if isinstance(record, BadRow):
                raise record
            yield tuple(checked_text(record[column], column) for column in columns)
        except BadRow as fault:
            if not options.skip_bad_rows:
                raise InputError(f"{name}, line {line}: {fault}; {SKIP_HINT}") from None
            skipped += 1
    if skipped:
        print(f"{skipped:,} bad rows skipped", file=sys.stderr)


def _text_records(lines: Iterable, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | BadRow]]:
    for number, line in lines:
        if isinstance(line, BadRow):
            yield number, line
            continue
        fields = line.split("\t") if len(columns) == 2 else [line]
        if len(fields) != len(columns):
            yield number, BadRow(f"expected {len(columns)} texts separated by a tab, found {len(fields)}")
        else:
            yield number, dict(zip(columns, fields, strict=True))


@contextlib.contextmanager
def output(path: str | None) -> Iterator[IO[str]]:
    """Standard output, or a file that takes its name only when everything has been written."""
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with new_file(path) as file:
        yield file


if __name__ == "__main__":
    raise SystemExit(run_script(main))
