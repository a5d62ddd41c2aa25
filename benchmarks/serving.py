"""Exported student against exported teacher, and against a BERT of the base size: latency and throughput.

    python -m benchmarks.serving --data_dir DIR

The base-sized BERT has random weights: it is there for its speed only.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import os
import time
from pathlib import Path

from benchmarks.common import parser, work_dir, write_result
from console import run_script
from deploy.options import BenchmarkOptions
from deploy.timing import benchmark


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--rows", type=int, default=256)
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    work = work_dir(arguments.work_dir) / "sst-2"
    folders = export_models(work, arguments.data_dir)
    options = {"data_dir": arguments.data_dir, "rounds": arguments.rounds, "rows": arguments.rows}
    figures = {
        "over_teacher": benchmark(BenchmarkOptions(model_dir=(folders["teacher"], folders["student"]), **options)),
        "over_bert_base": benchmark(
            BenchmarkOptions(model_dir=(folders["bert-base-size"], folders["student"]), **options)
        ),
    }
    write_result("serving", arguments, figures, time.perf_counter() - began)


def export_models(work: Path, data_dir: str) -> dict[str, str]:
    """Exports teacher, student and a base-sized BERT with random weights."""
    from deploy.exporter import export
    from deploy.options import ExportOptions
    from models.bert import BertConfig, BertForSequenceClassification
    from models.folder import LoadedModel, load, save

    base = work / "bert-base-size"
    if not (base / "config.json").is_file():
        teacher = load(work / "teacher")
        model = BertForSequenceClassification(BertConfig())
        model.eval()
        save(base, LoadedModel(model, teacher.tokenizer, teacher.task, teacher.max_seq_length))
    sources = {"teacher": work / "teacher", "student": work / "distilled-1", "bert-base-size": base}
    targets = {}
    for name, source in sources.items():
        targets[name] = os.fspath(work / "exported" / name)
        export(ExportOptions(model_dir=str(source), output_dir=targets[name], data_dir=data_dir, overwrite=True))
    return targets


if __name__ == "__main__":
    raise SystemExit(run_script(main))
