"""Compares the speed of exported models: text in, label out, the models taking turns in one run.

python -m deploy.benchmark --model_dir outputs/teacher_exported outputs/student_exported
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from args import Options, option, parse, positive
from console import progress, run_script, say, table
from data.store import write_atomically

SCRIPT = "deploy.benchmark"


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(Options):
    """Options of ``deploy.benchmark``."""

    model_dir: tuple[str, ...] = option(help="export folders; speed-ups are over the first")
    data_dir: str | None = option(None, "folder of the task whose dev rows are read; else the built-in corpus")
    rows: int = option(256, "different rows to predict", check=positive)
    rounds: int = option(5, "turns of each model", check=positive)
    latency_rows: int = option(100, "single rows a turn", check=positive)
    batch_size: int = option(32, "rows of a batch for the throughput", check=positive)
    output_file: str | None = option(None, "JSON file that receives the figures")


def main(argv: list[str]) -> None:
    """Parses the command line and measures."""
    options = parse(BenchmarkOptions, argv, __doc__ or "", f"python -m {SCRIPT}")
    results = benchmark(options)
    header = (
        "model",
        "threads",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "rows/s",
        "speed-up batch 1",
        f"batch {options.batch_size}",
    )
    say(table(header, [_row(result) for result in results]))
    if options.output_file:
        write_atomically(options.output_file, json.dumps(results, indent=1))


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    return (
        result["model"],
        str(result["threads"]),
        *(f"{result[name]:.2f}" for name in ("p50_ms", "p90_ms", "p99_ms")),
        f"{result['rows_per_second']:,.0f}",
        f"{result['latency_speedup']:.1f}x",
        f"{result['throughput_speedup']:.1f}x",
    )


def benchmark(options: BenchmarkOptions) -> list[dict[str, Any]]:
    """Measures every model with one thread and with all, alternating the models.

    Returns:
        One record a model and thread count: percentiles of the latency at batch 1 in milliseconds, rows a second
        (median over the rounds), and the ratios to the first model.
    """
    cores = len(os.sched_getaffinity(0))
    return [
        record
        for threads in sorted({1, cores})
        for record in measure_alternating(list(options.model_dir), threads, options)
    ]


def measure_alternating(folders: list[str], threads: int, options: BenchmarkOptions) -> list[dict[str, Any]]:
    """Lets models take turns with the same texts and the same number of threads."""
    from core.export import parity_rows
    from deploy.predictor import Predictor

    predictors = [Predictor(folder, threads) for folder in folders]
    texts = [parity_rows(p.task, options.data_dir, options.rows) for p in predictors]
    latencies: list[list[float]] = [[] for _ in predictors]
    rates: list[list[float]] = [[] for _ in predictors]
    for predictor, rows in zip(predictors, texts, strict=True):
        # Once through everything: a served model has met its shapes before.
        predictor.logits(rows, 1)
        predictor.logits(rows, options.batch_size)
    for turn in progress(range(options.rounds), f"benchmark, {threads} thread(s)", unit="round"):
        for number, (predictor, rows) in enumerate(zip(predictors, texts, strict=True)):
            for step in range(options.latency_rows):
                row = (turn * options.latency_rows + step) % len(rows[0])
                began = time.perf_counter()
                predictor.logits([column[row : row + 1] for column in rows], 1)
                latencies[number].append(1e3 * (time.perf_counter() - began))
            began = time.perf_counter()
            predictor.logits(rows, options.batch_size)
            rates[number].append(len(rows[0]) / (time.perf_counter() - began))
    return [_record(folders[n], threads, latencies, rates, n) for n in range(len(folders))]


def _record(
    folder: str, threads: int, latencies: list[list[float]], rates: list[list[float]], number: int
) -> dict[str, Any]:
    p50, p90, p99 = np.percentile(latencies[number], [50, 90, 99])
    return {
        "model": Path(folder).name,
        "threads": threads,
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "rows_per_second": float(np.median(rates[number])),
        # Ratios turn by turn, so that what slows the machine down for a while slows both sides.
        "latency_speedup": float(np.median(latencies[0]) / p50),
        "throughput_speedup": float(np.median(np.asarray(rates[number]) / np.asarray(rates[0]))),
    }


if __name__ == "__main__":
    raise SystemExit(run_script(main))
