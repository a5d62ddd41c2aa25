"""A TinyBERT as the start of a once-for-all network of four widths, on SST-2: accuracy and speed of every width.

    python -m benchmarks.tinybert_ofa --data_dir DIR --reviews_dir DIR

The start is the 4 x 312 student of benchmarks.tinybert, seed 1, which teaches its own widths. *Cut only* is the same
part of it, heads and neurons sorted by importance, without training.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import os
import time
from pathlib import Path
from typing import Any

from benchmarks.common import parser, work_dir, write_result
from benchmarks.recipe import run
from benchmarks.tinybert import REVIEWS, ROWS
from console import InputError, run_script
from core.checkpoint import read_metrics

WIDTHS = (1.0, 5 / 6, 2 / 3, 0.5)
STEPS = 300
OFA = {
    "width_mult_list": WIDTHS,
    "num_train_epochs": 50,
    "max_steps": STEPS,
    "learning_rate": 1e-4,
    "warmup_proportion": 0.06,
    "weight_decay": 0.01,
    "batch_size": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_seq_length": 128,
}


def main(argv: list[str]) -> None:
    """Trains what has not been trained yet, measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--reviews_dir", required=True, help=f"folder with {REVIEWS}")
    made.add_argument("--jobs", type=int, default=1, help="shares of the cores: the training takes one")
    made.add_argument("--rounds", type=int, default=5, help="turns of each model when speed is measured")
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    folder = work_dir(arguments.work_dir) / "sst-2"
    start, network = folder / "tinybert" / "4x312-distilled-1", folder / "tinybert-network"
    if not (start / "metrics.json").is_file():
        raise InputError(f"{start}: no student here yet; run python -m benchmarks.tinybert first")
    rows = {**ROWS["sst-2"], "eval_steps": 0}
    options = {
        "task_name": "sst-2",
        "data_dir": arguments.data_dir,
        "cache_dir": str(folder / "cache"),
        "resume": True,
        "seed": arguments.seed,
        **rows,
        **OFA,
        "unlabeled_file": (os.path.join(arguments.reviews_dir, REVIEWS),),
        "split_sentences": True,
        "model_name_or_path": str(start),
        "output_dir": str(network),
    }
    run("ofa_bert.run_glue_ofa", options, jobs=arguments.jobs)
    figures = {
        "settings": {**OFA, **rows, "unlabeled_file": REVIEWS},
        "start": read_metrics(start)["dev"],
        "minutes": round(read_metrics(network / "width")["training"]["seconds"] / 60, 1),
        "widths": widths(start, network, arguments.data_dir, arguments.rounds),
    }
    write_result("tinybert_ofa", arguments, figures, time.perf_counter() - began)


def widths(start: Path, network: Path, data_dir: str, rounds: int) -> list[dict[str, Any]]:
    """Accuracy of every width, trained and cut only, and its speed over the start's, with all threads."""
    import tempfile

    from core.evaluate import evaluate_model
    from core.texts import parity_rows
    from data.sources import load_task_data
    from data.tasks import get_task
    from deploy.exporter import export
    from deploy.options import ExportOptions
    from deploy.timing import measure_alternating
    from models.folder import load
    from ofa_bert.shapes import make_shape
    from ofa_bert.sub_model import PARITY_ROWS, cut, write_sub_model
    from ofa_bert.train import starting_network

    kept = {name: ROWS["sst-2"][name] for name in ("holdout", "max_train_rows")}
    data = load_task_data(get_task("sst-2"), data_dir, **kept)
    ordered, trained = starting_network(str(start), int(str(OFA["max_seq_length"])), "width", data), load(network)
    rows = parity_rows(trained.labelled, data_dir, PARITY_ROWS).columns
    found = []
    with tempfile.TemporaryDirectory() as place:
        exported = [os.path.join(place, "start")]
        export(ExportOptions(model_dir=str(start), output_dir=exported[0], data_dir=data_dir))
        for width in WIDTHS:
            shape = make_shape(vars(trained.model.config), width, 1.0)
            part = cut(trained, shape)
            found.append(
                {
                    "width": width,
                    "heads": shape.heads,
                    "neurons": shape.neurons,
                    "parameters": part.parameters,
                    "trained": evaluate_model(part, data.dev),
                    "cut": evaluate_model(cut(ordered, shape), data.dev),
                }
            )
            exported.append(os.path.join(place, f"static-{shape.heads}"))
            write_sub_model(trained, shape, Path(place) / f"sub-{shape.heads}", Path(exported[-1]), rows=rows)
        records = measure_alternating(exported, len(os.sched_getaffinity(0)), data_dir, rounds=rounds)
    for record, speed in zip(found, records[1:], strict=True):
        record |= {name: speed[name] for name in ("p50_ms", "rows_per_second", "latency_speedup", "throughput_speedup")}
    return found


if __name__ == "__main__":
    raise SystemExit(run_script(main))
