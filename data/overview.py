"""Shows labels and lengths of a task's rows, as tables and as a picture.

python -m data.tasks --task_name sst-2 --data_dir DIR --plot lengths.png
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from args import option, parse
from console import InputError, run_script, say, table
from data.options import DataOptions
from data.sources import Rows, TaskData
from data.tasks import Task
from data.tokenization import JiebaTokenizer, WordPieceTokenizer, read_vocab
from files import check_new_file

QUANTILES = (0.5, 0.9, 0.99)
CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Microsoft YaHei", "SimHei", "PingFang SC"),
)


class OverviewOptions(DataOptions):
    """Options of ``data.tasks``."""

    group = "output"

    vocab_path: str | None = option(
        None, "a BERT's vocab.txt: lengths in word pieces beside those in words", group="model"
    )
    plot: str | None = option(None, "a .png file that receives a histogram of the lengths")

    def faults(self) -> list[str]:
        found = super().faults()
        if self.plot and not self.plot.endswith(".png"):
            found.append(f"--plot {self.plot}: expected a name that ends in .png")
        return found


def main(argv: list[str]) -> None:
    """Parses the command line and shows a task's data."""
    show(parse(OverviewOptions, argv, __doc__ or "", "python -m data.tasks"))


def show(options: OverviewOptions) -> None:
    """Prints labels and lengths, and draws the histogram that is asked for.

    Raises:
        InputError: the rows, the vocabulary or the picture's folder cannot be used.
    """
    if options.plot and not Path(options.plot).resolve().parent.is_dir():
        raise InputError(f"--plot {options.plot}: no such folder")
    if options.plot:
        check_new_file(options.plot, "--plot")
    counters = length_counters(options.task(), options.vocab_path)
    data = options.rows()
    splits = {"train": data.train, "dev": data.dev, **data.further_dev}
    say(f"{table(('labels', *splits), label_rows(data, splits))}\n")
    lengths = {
        (split, column, unit): np.asarray(count(texts), np.int64)
        for split, rows in splits.items()
        for column, texts in zip(data.task.text_columns, rows.texts, strict=True)
        for unit, count in counters.items()
    }
    header = ("lengths", "mean", *(f"{q:.0%} up to" for q in QUANTILES), "longest")
    say(table(header, [(", ".join(key), *length_row(values)) for key, values in lengths.items()]))
    if options.plot:
        plot(lengths, options.plot, data.task.name)
        say(f"\nhistogram: {options.plot}")


def length_counters(task: Task, vocab_path: str | None) -> dict[str, Callable[[Sequence[str]], Sequence[int]]]:
    """How to count lengths, by unit; words as the student of the task's language reads them."""
    words = JiebaTokenizer(["[PAD]", "[UNK]", "[MASK]"]).words if task.language == "zh" else str.split
    counters: dict[str, Callable[[Sequence[str]], Sequence[int]]] = {
        "characters": lambda texts: [len(text) for text in texts],
        "words": lambda texts: [len(words(text)) for text in texts],
    }
    if vocab_path:
        pieces = WordPieceTokenizer(read_vocab(Path(vocab_path)))
        counters["word pieces"] = lambda texts: pieces.encode(texts).lengths.tolist()
    return counters


def label_rows(data: TaskData, splits: Mapping[str, Rows]) -> list[tuple[str, ...]]:
    """One row a label, with its number of rows and its share in every split."""
    values = {name: np.asarray(rows.labels) for name, rows in splits.items()}
    total = ("rows", *(f"{len(found):,}" for found in values.values()))
    if data.task.is_regression:
        span = [f"{found.min():g} to {found.max():g}, mean {found.mean():.2f}" for found in values.values()]
        return [("numbers", *span), total]
    counts = [Counter(found.tolist()) for found in values.values()]
    rows = [
        (label, *(f"{count[i]:,} ({count[i] / max(1, count.total()):.1%})" for count in counts))
        for i, label in enumerate(data.task.labels or ())
    ]
    return [*rows, total]


def length_row(lengths: np.ndarray) -> tuple[str, ...]:
    """Mean, quantiles and maximum, for the table."""
    quantiles = np.quantile(lengths, QUANTILES, method="higher")
    return (f"{lengths.mean():.1f}", *(f"{value:,}" for value in quantiles), f"{lengths.max():,}")


def plot(lengths: Mapping[tuple[str, str, str], np.ndarray], path: str, title: str) -> None:
    """Draws the lengths' distributions: a panel per unit, a line per split and column; the longest 1 % are left out."""
    from matplotlib import rc_context
    from matplotlib.font_manager import fontManager

    # Columns may have Chinese names, which the font that comes with matplotlib cannot write.
    installed = {font.name for font in fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in CHINESE_FONTS if name in installed)]
    with rc_context({"font.family": fonts}):
        _plot(lengths, path, title)


def _plot(lengths: Mapping[tuple[str, str, str], np.ndarray], path: str, title: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    units = list(dict.fromkeys(unit for _, _, unit in lengths))
    figure = Figure(figsize=(5 * len(units), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, unit in zip(np.atleast_1d(figure.subplots(1, len(units))), units, strict=True):
        found = {key: values for key, values in lengths.items() if key[2] == unit}
        last = max(int(np.quantile(values, 0.99)) for values in found.values())
        step = -(-(last + 1) // 40)  # Whole lengths a bar: other widths would put more lengths into some bars.
        bins = np.arange(0, last + 1 + step, step)
        for (split, column, _), values in found.items():
            shares = np.full(len(values), 1 / len(values))
            axes.hist(values, bins, weights=shares, histtype="step", label=f"{split}, {column}")
        axes.set(xlabel=unit, ylabel="share of rows")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.suptitle(f"{title}: lengths")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
