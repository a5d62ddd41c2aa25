"""Encoders side by side: their sizes, the speed of their static graphs, and what they come to on tasks."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from console import InputError, progress, say, table
from core.checkpoint import METRICS, read_metrics
from core.metrics import MAIN_METRIC
from core.shapes import SHAPES
from core.static_graph import StaticGraph, save_graph
from data.tasks import SPANS, Task
from data.tokenization import SPECIAL_TOKENS, WordPieceTokenizer
from deploy.options import BenchmarkOptions
from files import check_new_file, write_json
from models.bert import BertConfig, BertModel
from models.folder import LoadedModel, bert_shape, read_config

Record = dict[str, Any]


def compare(options: BenchmarkOptions) -> dict[str, Any]:
    """The published tables of models: sizes and speeds, and what they come to on tasks.

    Returns:
        ``models``, a record per encoder, and ``scores`` by model and task.
    """
    if options.output_file:
        check_new_file(options.output_file, "--output_file")
    scores = read_scores(options.scores)
    records: list[Record] = []
    if options.table:
        records = compared(
            options.table,
            options.vocab_size,
            options.max_seq_length,
            options.rounds,
            options.latency_rows,
            options.batch_size,
        )
        show_comparison(records, options.batch_size)
    if scores:
        show_scores(scores)
    found = {"models": records, "scores": scores}
    if options.output_file:
        write_json(options.output_file, found)
    return found


def compared(
    names: Sequence[str], vocab_size: int, max_seq_length: int, rounds: int, latency_rows: int, batch_size: int
) -> list[Record]:
    """Sizes and speeds of encoders; the speed does not depend on weights, which are random here.

    Args:
        names: model folders or published shapes; ratios are to the first.
        vocab_size: of published shapes.
        max_seq_length: tokens of every input.
        rounds: turns of each encoder.
        latency_rows: single inputs per turn.
        batch_size: inputs of a batch for the throughput.

    Returns:
        A record per encoder, as the published comparisons have them: parameters of the encoder with its pooler, without
        a task's head.

    Raises:
        InputError: neither a folder of a BERT nor a shape.
    """
    shapes = [_shape(name, vocab_size) for name in names]
    for name, shape in zip(names, shapes, strict=True):
        if shape.max_position_embeddings < max_seq_length:
            raise InputError(f"--max_seq_length {max_seq_length}: {name} has {shape.max_position_embeddings} positions")
    records = []
    with tempfile.TemporaryDirectory() as place:
        graphs = []
        for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
            folder = Path(place) / str(number)
            folder.mkdir()
            loaded = LoadedModel(BertModel(shape), _some_tokenizer(shape), None, max_seq_length)
            loaded.model.eval()
            outputs = save_graph(loaded, folder)
            graphs.append(StaticGraph(folder, outputs=outputs, shapes=2))
            embeddings = sum(p.size for p in loaded.model.embeddings.parameters())  # type: ignore[union-attr]
            records.append(
                {
                    "model": Path(name).name,
                    "layers": shape.num_hidden_layers,
                    "hidden_size": shape.hidden_size,
                    "ffn_size": shape.intermediate_size,
                    "heads": shape.num_attention_heads,
                    "parameters": loaded.parameters,
                    "without_embeddings": loaded.parameters - embeddings,
                }
            )
        for record, speed in zip(
            records, _speeds(graphs, max_seq_length, rounds, latency_rows, batch_size), strict=True
        ):
            record |= speed
    for record in records:
        for figure in ("parameters", "without_embeddings"):
            record[f"{figure}_share"] = record[figure] / records[0][figure]
    return records


def _shape(name: str, vocab_size: int) -> BertConfig:
    if name in SHAPES:
        return BertConfig(vocab_size=vocab_size, **SHAPES[name])
    if not Path(name).is_dir():
        raise InputError(f"--table {name}: neither a model folder nor one of {', '.join(SHAPES)}")
    return bert_shape(name)


def _some_tokenizer(shape: BertConfig) -> WordPieceTokenizer:
    """A tokenizer that goes with a shape; it reads nothing here."""
    return WordPieceTokenizer(
        [*SPECIAL_TOKENS, *(f"[unused{n}]" for n in range(shape.vocab_size - len(SPECIAL_TOKENS)))]
    )


def _speeds(
    graphs: Sequence[StaticGraph], tokens: int, rounds: int, latency_rows: int, batch_size: int
) -> list[dict[str, float]]:
    """Milliseconds of a single input and inputs a second, the graphs taking turns."""
    one, many = (
        {"input_ids": np.full((rows, tokens), len(SPECIAL_TOKENS)), "token_type_ids": np.zeros((rows, tokens))}
        for rows in (1, batch_size)
    )
    latencies: list[list[float]] = [[] for _ in graphs]
    rates: list[list[float]] = [[] for _ in graphs]
    for graph in graphs:
        graph.run(one)
        graph.run(many)
    for _ in progress(range(rounds), "comparison", unit="round"):
        for number, graph in enumerate(graphs):
            began = time.perf_counter()
            for _ in range(latency_rows):
                graph.run(one)
            latencies[number].append(1e3 * (time.perf_counter() - began) / latency_rows)
            began = time.perf_counter()
            graph.run(many)
            rates[number].append(batch_size / (time.perf_counter() - began))
    return [
        {
            "milliseconds": float(np.median(latencies[number])),
            "rows_per_second": float(np.median(rates[number])),
            # Turn by turn: what slows the machine down for a while slows both sides.
            "latency_speedup": float(np.median(np.asarray(latencies[0]) / np.asarray(latencies[number]))),
            "throughput_speedup": float(np.median(np.asarray(rates[number]) / np.asarray(rates[0]))),
        }
        for number in range(len(graphs))
    ]


def show_comparison(records: Sequence[Record], batch_size: int) -> None:
    """Prints the published table of models, with a column for each way to measure speed."""
    header = (
        "model",
        "layers",
        "hidden",
        "FFN",
        "heads",
        "parameters",
        "w/o embeddings",
        "batch 1",
        f"batch {batch_size}",
    )
    rows = [
        (
            record["model"],
            *(str(record[name]) for name in ("layers", "hidden_size", "ffn_size", "heads")),
            *(
                f"{record[name] / 1e6:.1f}M ({record[f'{name}_share']:.1%})"
                for name in ("parameters", "without_embeddings")
            ),
            f"{record['latency_speedup']:.1f}x",
            f"{record['throughput_speedup']:.1f}x",
        )
        for record in records
    ]
    say(table(header, rows))
    say(f"speed: encoder and pooler as a static graph, {len(os.sched_getaffinity(0))} core(s)")


def read_scores(entries: Sequence[str]) -> dict[str, dict[str, float]]:
    """What models came to: by name and task, the metric that chooses checkpoints, of reading comprehension EM and F1.

    Args:
        entries: ``NAME=FOLDER,FOLDER,…`` each.

    Raises:
        InputError: not of that form, or a folder that is no finished run.
    """
    found: dict[str, dict[str, float]] = {}
    for entry in entries:
        name, equals, folders = entry.partition("=")
        if not equals or not name or not folders:
            raise InputError(f"--scores {entry}: expected NAME=FOLDER,FOLDER,…")
        if name in found:
            raise InputError(f"--scores {entry}: {name} stands there twice")
        found[name] = {}
        for folder in folders.split(","):
            scores = _scores_of(folder)
            if twice := scores.keys() & found[name].keys():
                raise InputError(f"--scores {entry}: two folders of {min(twice)}")
            found[name] |= scores
    first = next(iter(found.values()), {})
    for name, tasks in found.items():
        if missing := [task for task in tasks if task not in first]:
            raise InputError(f"--scores {name}: {missing[0]} is none of the first model's tasks")
    return found


def _scores_of(folder: str) -> dict[str, float]:
    config = read_config(folder)
    if not (Path(folder) / METRICS).is_file():
        raise InputError(f"--scores {folder}: no {METRICS} here: no finished run of a task")
    try:
        task = Task.from_dict(config["paddledistill"]["task"])
        dev = read_metrics(Path(folder))["dev"]
        if task.metric == SPANS:
            return {f"{task.name} {name.upper()}": float(dev[name]) for name in ("em", "f1")}
        return {task.name: float(dev[MAIN_METRIC[task.metric]])}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"--scores {folder}: no finished run of a task ({type(error).__name__}: {error})") from error


def show_scores(scores: Mapping[str, Mapping[str, float]]) -> None:
    """Prints scores, and their shares of the first model's: the published table of relative performance."""
    first = next(iter(scores.values()))
    rows = [(name, *(_shown(tasks.get(task), best) for task, best in first.items())) for name, tasks in scores.items()]
    say(table(("model", *first), rows))


def _shown(value: float | None, best: float) -> str:
    if value is None:
        return "–"
    share = f" ({value / best:.1%})" if best else ""
    return f"{100 * value:.2f}{share}"
