"""Options of the commands that export, predict and measure."""

from __future__ import annotations

from args import Options, between, not_negative, option, positive
from core.shapes import SHAPES

FORMATS = ("paddle", "onnx", "onnx-int8")
DEVICES = ("cpu", "gpu")
RUNTIMES, PRECISIONS = ("paddle", "onnx"), ("fp32", "bf16", "int8")
RUNTIME_HELP = "what runs the export; by default the first of these that it was exported for"
PRECISION_HELP = (
    "number format; by default the first that the export holds; int8 needs --format onnx-int8, bf16 AMX or AVX512_BF16"
)


def _wrong_format(value: str) -> str | None:
    names = value.split(",")
    if value == "hf" or (set(names) <= set(FORMATS) and len(set(names)) == len(names)):
        return None
    return f"expected some of {', '.join(FORMATS)}, joined by commas, or hf"


# More threads than this are a slip of the hand.
THREADS = between(0, 1024)


class ExportOptions(Options):
    """Options of ``deploy.export``."""

    model_dir: str = option(help="the model folder", group="model")
    output_dir: str = option(help="folder that receives the export")
    format: str = option(
        "paddle",
        f"what is written, several joined by commas: {', '.join(FORMATS)} (paddle is a static graph for Paddle "
        "Inference, onnx and onnx-int8 are for ONNX Runtime); or hf alone, a Hugging Face folder (BERTs only)",
        check=lambda value: _wrong_format(value),
    )
    max_accuracy_drop: float = option(
        1.0,
        "points of the task's metric (of 100) that onnx-int8 may lose on the dev rows; nothing is written beyond that",
        check=not_negative,
    )
    data_dir: str | None = option(
        None,
        "folder of the task whose dev rows the export is checked on; when left out, the dev rows of the model's "
        "training, or the built-in corpus where these are gone",
        group="data",
    )
    dev_file: str | None = option(None, "a file of your own rows, instead of that folder", group="data")
    parity_rows: int = option(64, "rows on which graph and model must agree", check=positive)
    overwrite: bool = option(False, "replace an earlier export in --output_dir")

    def faults(self) -> list[str]:
        found = super().faults()
        if self.data_dir and self.dev_file:
            found.append("--data_dir and --dev_file exclude each other")
        if self.asks("max_accuracy_drop") and "onnx-int8" not in self.forms:
            found.append("--max_accuracy_drop goes with --format onnx-int8")
        return found

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that are written, of :data:`core.forms.FORMS`; of a Hugging Face folder none."""
        given = self.format.split(",")
        return tuple(name for name in FORMATS if name in given)


class PredictOptions(Options):
    """Options of ``deploy.predict``."""

    model_dir: str = option(help="an export folder", group="model")
    text: tuple[str, ...] = option((), "texts to label", group="data")
    text_pair: tuple[str, ...] = option((), "the second texts of pairs, as many as --text", group="data")
    input_file: str | None = option(
        None, "a .tsv, .csv or .jsonl file with the task's text columns, or .txt with a text per line", group="data"
    )
    output_file: str | None = option(None, "where the predictions go (.jsonl); standard output when left out")
    skip_bad_rows: bool = option(False, "leave out rows that cannot be read instead of stopping", group="data")
    batch_size: int = option(32, "rows of a batch", check=between(1, 100_000))
    n_best_size: int = option(1, "answers to a question, of a model that finds them", check=between(1, 1000))
    threads: int = option(0, "threads of the matrix kernels; 0 takes one per core", check=THREADS)
    device: str = option("cpu", "where to compute", choices=DEVICES)
    runtime: str | None = option(None, RUNTIME_HELP, choices=RUNTIMES)
    precision: str | None = option(None, PRECISION_HELP, choices=PRECISIONS)

    def faults(self) -> list[str]:
        found = super().faults()
        if self.text and self.input_file:
            found.append("--text and --input_file exclude each other")
        if self.text_pair and len(self.text_pair) != len(self.text):
            found.append(f"--text_pair: expected as many texts as --text ({len(self.text)}), got {len(self.text_pair)}")
        return found


class ServeOptions(Options):
    """Options of ``deploy.serve``."""

    model_dir: str = option(help="an export folder", group="model")
    host: str = option("127.0.0.1", "the address to listen on; 0.0.0.0 lets other machines ask")
    port: int = option(8080, "its port; 0 takes a free one", check=between(0, 65_535))
    batch_size: int = option(32, "rows of a batch; 1 computes every row by itself", check=between(1, 100_000))
    max_rows: int = option(1000, "rows that one request may hold", check=between(1, 1_000_000))
    max_waiting: int = option(10_000, "rows that may wait; further requests are refused until fewer do", check=positive)
    n_best_size: int = option(1, "answers to a question, of a model that finds them", check=between(1, 1000))
    threads: int = option(0, "threads of the matrix kernels; 0 takes one per core", check=THREADS)
    device: str = option("cpu", "where to compute", choices=DEVICES)
    runtime: str | None = option(None, RUNTIME_HELP, choices=RUNTIMES)
    precision: str | None = option(None, PRECISION_HELP, choices=PRECISIONS)


class EvaluateOptions(Options):
    """Options of ``deploy.evaluate``."""

    model_dir: str = option(help="a model folder or an export folder", group="model")
    against: str | None = option(
        None, "another one, such as the teacher's, whose answers are compared with the first one's", group="model"
    )
    input_file: str | None = option(
        None,
        "rows with labels (.tsv, .csv, .jsonl); of a model that finds answers, questions as SQuAD's; when left out, "
        "the dev rows of the training of --model_dir, or of --against",
        group="data",
    )
    label_column: str | None = option(None, "the column of the label; the task's when left out", group="data")
    skip_bad_rows: bool = option(False, "leave out rows that cannot be read instead of stopping", group="data")
    output_file: str | None = option(None, "JSON file that receives the figures")
    batch_size: int = option(32, "rows of a batch", check=between(1, 100_000))
    threads: int = option(0, "threads of the matrix kernels of an export; 0 takes one per core", check=THREADS)
    device: str = option("cpu", "where to compute", choices=DEVICES)
    runtime: str | None = option(None, RUNTIME_HELP, choices=RUNTIMES)
    precision: str | None = option(None, PRECISION_HELP, choices=PRECISIONS)


class ReportOptions(Options):
    """Options of ``deploy.report``."""

    run: tuple[str, ...] = option(
        (),
        "folders that hold runs, model folders or export folders, in them or below: outputs/demo, for one",
        group="model",
    )
    output_file: str = option("report.html", "the page")
    input_file: str | None = option(
        None, "rows with labels that models are judged on; the dev rows of their training when left out", group="data"
    )
    rows: int = option(2000, "rows at most that every model labels", check=positive, group="data")
    batch_size: int = option(32, "rows of a batch", check=between(1, 100_000))
    rounds: int = option(3, "turns of every model when speed is measured; 0 measures none", check=not_negative)
    speed_rows: int = option(50, "single rows of a turn", check=positive)

    def faults(self) -> list[str]:
        found = super().faults()
        if not self.run:
            found.append("--run is required: a folder with runs or models")
        if not self.output_file.endswith((".html", ".htm")):
            found.append(f"--output_file {self.output_file}: expected a name that ends in .html")
        return found


class BenchmarkOptions(Options):
    """Options of ``deploy.benchmark``."""

    model_dir: tuple[str, ...] = option((), "export folders; speed-ups are over the first", group="model")
    table: tuple[str, ...] = option(
        (),
        "instead of exports: model folders or published shapes, compared in size and speed with "
        f"the first: {', '.join(SHAPES)}",
        group="model",
    )
    scores: tuple[str, ...] = option(
        (),
        "NAME=FOLDER,FOLDER,… : a model and what it came to on several tasks, as fine-tuned folders; the table of "
        "scores and their shares of the first model's",
        group="model",
    )
    vocab_size: int = option(
        21_128, "entries of the vocabulary of published shapes in --table", check=between(6, 10_000_000), group="model"
    )
    max_seq_length: int = option(128, "tokens of the inputs of --table", check=between(3, 512), group="data")
    data_dir: str | None = option(
        None, "folder of the task whose dev rows are read; else the built-in corpus", group="data"
    )
    dev_file: str | None = option(None, "a file of your own rows, instead of that folder", group="data")
    rows: int = option(256, "different rows to predict", check=positive)
    runtime: str | None = option(None, "measure this alone, of what an export holds; all by default", choices=RUNTIMES)
    precision: str | None = option(None, "measure this number format alone", choices=PRECISIONS)
    threads: int = option(0, "threads of the matrix kernels; 0 measures one and one per core", check=THREADS)
    rounds: int = option(5, "turns of each model", check=positive)
    latency_rows: int = option(100, "single rows per turn", check=positive)
    batch_size: int = option(32, "rows of a batch for the throughput", check=between(1, 100_000))
    output_file: str | None = option(None, "JSON file that receives the figures")

    def faults(self) -> list[str]:
        found = super().faults()
        if not self.model_dir and not self.table and not self.scores:
            found.append("--model_dir is required, or --table with model folders or shapes, or --scores")
        if self.model_dir and (self.table or self.scores):
            found.append("--model_dir excludes --table and --scores")
        for name in ("vocab_size", "max_seq_length"):
            if self.asks(name) and not self.table:
                found.append(f"--{name} goes with --table")
        if self.data_dir and self.dev_file:
            found.append("--data_dir and --dev_file exclude each other")
        for name in ("data_dir", "dev_file", "rows", "runtime", "precision", "threads"):
            if self.asks(name) and not self.model_dir:
                found.append(f"--{name} goes with --model_dir")
        for name in ("rounds", "latency_rows", "batch_size"):
            if self.asks(name) and not (self.model_dir or self.table):
                found.append(f"--{name} goes with --model_dir or --table")
        return found
