"""Latency and throughput of exported models: text in, label out, the models taking turns in one run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from console import progress, say, table
from core.arithmetic import BF16, bf16_fault
from core.export import read_export_config
from core.forms import FORMS, chosen_form, forms_of
from core.texts import parity_rows
from deploy.options import BenchmarkOptions
from deploy.predictor import Predictor
from files import check_new_file, write_atomically


def benchmark(options: BenchmarkOptions) -> list[dict[str, Any]]:
    """Measures every model with one thread and with all, alternating the models, and shows the figures.

    Returns:
        One record per model and thread count: percentiles of the latency at batch 1 in milliseconds, rows a second
        (median over the rounds), and the ratios to the first model.
    """
    if options.output_file:
        check_new_file(options.output_file, "--output_file")
    counts = [options.threads] if options.threads else sorted({1, len(os.sched_getaffinity(0))})
    folders, ways = every_way(options.model_dir, options.runtime, options.precision)
    results = [
        record
        for threads in counts
        for record in measure_alternating(
            folders,
            threads,
            options.data_dir,
            options.rows,
            options.rounds,
            options.latency_rows,
            options.batch_size,
            options.dev_file,
            ways,
        )
    ]
    header = (
        "model",
        "form",
        "threads",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "rows/s",
        "speed-up batch 1",
        f"batch {options.batch_size}",
    )
    say(table(header, [_row(result) for result in results]))
    say(f"texts: {', '.join(dict.fromkeys(result['texts'] for result in results))}")
    if options.output_file:
        write_atomically(options.output_file, json.dumps(results, indent=1))
    return results


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    return (
        result["model"],
        result["form"],
        str(result["threads"]),
        *(f"{result[name]:.2f}" for name in ("p50_ms", "p90_ms", "p99_ms")),
        f"{result['rows_per_second']:,.0f}",
        f"{result['latency_speedup']:.1f}x",
        f"{result['throughput_speedup']:.1f}x",
    )


# A form of an export and the precision in which it is computed.
Way = tuple[str, str]


def every_way(
    folders: Sequence[str], runtime: str | None = None, precision: str | None = None
) -> tuple[list[str], list[Way]]:
    """How what export folders hold can be run here, by some runtime and in some precision where these are named.

    Returns:
        Folders, each as often as there are ways, and these.

    Raises:
        InputError: no export folder, or one that holds nothing of the kind.
    """
    found = []
    for folder in folders:
        config = read_export_config(folder)
        chosen_form(folder, config, runtime, precision)
        for name in forms_of(config):
            # Asked for by name, bf16 on a processor without it is refused when the graph is opened.
            precisions = (precision,) if precision else FORMS[name].precisions
            found += [
                (folder, (name, one))
                for one in precisions
                if FORMS[name].serves(runtime, one) and (precision or one != BF16 or bf16_fault() is None)
            ]
    return [folder for folder, _ in found], [way for _, way in found]


def measure_alternating(
    folders: Sequence[str],
    threads: int,
    data_dir: str | None = None,
    rows: int = 256,
    rounds: int = 5,
    latency_rows: int = 100,
    batch_size: int = 32,
    dev_file: str | None = None,
    ways: Sequence[Way] | None = None,
) -> list[dict[str, Any]]:
    """Lets models take turns with the same texts and the same number of threads.

    Args:
        folders: export folders; ratios are to the first.
        threads: of each.
        data_dir: folder of the task whose dev rows are read; the built-in corpus when left out.
        rows: different ones to predict.
        rounds: turns of each model.
        latency_rows: single rows per turn.
        batch_size: rows of a batch for the throughput.
        dev_file: rows of one's own, instead of that folder.
        ways: one for each folder; the first form that it holds, in fp32, when left out.

    Returns:
        A record per model: percentiles of the latency at batch 1 in milliseconds, rows a second (median over the
        rounds), the ratios, and where its texts stand.
    """
    asked = [(FORMS[name].runtime, precision) for name, precision in ways] if ways else [(None, None)] * len(folders)
    predictors = [
        Predictor(folder, threads, runtime=runtime, precision=precision)
        for folder, (runtime, precision) in zip(folders, asked, strict=True)
    ]
    sources = [parity_rows(predictor.task, data_dir, rows, dev_file) for predictor in predictors]
    speeds = alternate(
        predictors,
        [source.columns for source in sources],
        rounds,
        latency_rows,
        batch_size,
        f"benchmark, {threads} thread(s)",
    )
    return [
        {
            "model": Path(predictor.folder).name,
            "form": predictor.form if predictor.precision != BF16 else f"{predictor.form}-{BF16}",
            "threads": threads,
            **speed,
            "texts": Path(source.where).name,
        }
        for predictor, speed, source in zip(predictors, speeds, sources, strict=True)
    ]


def alternate(
    predictors: Sequence[Predictor],
    texts: Sequence[Sequence[Sequence[str]]],
    rounds: int,
    latency_rows: int,
    batch_size: int,
    what: str = "speed",
) -> list[dict[str, float]]:
    """Lets models take turns.

    Args:
        predictors: the models; ratios are to the first.
        texts: of each, one list per text column.
        rounds: turns of each model.
        latency_rows: single rows per turn.
        batch_size: rows of a batch for the throughput.
        what: names the progress bar.

    Returns:
        The figures of :func:`measure_alternating` for each.
    """
    latencies: list[list[float]] = [[] for _ in predictors]
    rates: list[list[float]] = [[] for _ in predictors]
    for predictor, known in zip(predictors, texts, strict=True):
        # Once through everything: a served model has met its shapes before.
        predictor.run(known, 1)
        predictor.run(known, batch_size)
    for turn in progress(range(rounds), what, unit="round"):
        for number, (predictor, known) in enumerate(zip(predictors, texts, strict=True)):
            for step in range(latency_rows):
                row = (turn * latency_rows + step) % len(known[0])
                began = time.perf_counter()
                predictor.run([column[row : row + 1] for column in known], 1)
                latencies[number].append(1e3 * (time.perf_counter() - began))
            began = time.perf_counter()
            predictor.run(known, batch_size)
            rates[number].append(len(known[0]) / (time.perf_counter() - began))
    return [_record(latencies, rates, number) for number in range(len(predictors))]


def _record(latencies: list[list[float]], rates: list[list[float]], number: int) -> dict[str, float]:
    p50, p90, p99 = np.percentile(latencies[number], [50, 90, 99])
    return {
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "rows_per_second": float(np.median(rates[number])),
        # Ratios turn by turn, so that what slows the machine down for a while slows both sides.
        "latency_speedup": float(np.median(latencies[0]) / p50),
        "throughput_speedup": float(np.median(np.asarray(rates[number]) / np.asarray(rates[0]))),
    }
