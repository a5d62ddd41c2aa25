"""The search for the best sub-network within a budget, measured on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from console import InputError, progress, say, table
from core.checkpoint import inputs_inside
from core.evaluate import evaluate_model
from core.metrics import MAIN_METRIC
from core.recorded import recorded_dev
from core.static_graph import StaticGraph, save_graph
from core.teacher import load_teacher
from data.sources import Rows, find_split, load_task_data, read_rows
from data.tasks import TASKS
from files import cache_folder, check_new_folder, new_folder, scratch_folder, write_json
from models.folder import LoadedModel, bert_shape, load
from ofa_bert.options import SearchOptions, amount
from ofa_bert.shapes import OfaRecord, Shape, make_shapes
from ofa_bert.sub_model import PARITY_ROWS, cut, encoder_parameters, write_sub_model

RECORD, PICTURE, SUB_MODEL, STATIC = "search.json", "pareto.png", "sub_model", "static"
RUNS_A_TURN = 10


@dataclass(frozen=True)
class Candidate:
    """A sub-network and what was measured of it.

    Attributes:
        shape: which one it is.
        parameters: number of weights.
        encoder_parameters: the same without the embeddings.
        score: the task's main metric on dev.
        latency_ms: median at batch 1.
    """

    shape: Shape
    parameters: int
    encoder_parameters: int
    score: float
    latency_ms: float


@dataclass(frozen=True)
class Limit:
    """One limit of the budget.

    Attributes:
        name: the option.
        bound: its value.
        attribute: of the candidate that it limits.
        least: whether the bound is the least allowed value rather than the largest.
    """

    name: str
    bound: float
    attribute: str
    least: bool = False

    def excess(self, candidate: Candidate) -> float:
        """By what share a candidate misses the limit; 0 when it keeps it."""
        value = getattr(candidate, self.attribute)
        kept = value >= self.bound if self.least else value <= self.bound
        return 0.0 if kept else abs(value - self.bound) / max(abs(self.bound), 1e-9)


def search(options: SearchOptions) -> Candidate:
    """Measures every width x depth and exports the most accurate one within the limits, the fastest of equals.

    Returns:
        The chosen one.

    Raises:
        InputError: bad input, or no sub-network keeps all limits: the message names the nearest, and the record and
            the picture are written, unless an earlier search is in their place.
    """
    source, target = Path(options.model_dir), Path(options.output_dir)
    record = OfaRecord.load(source)
    shapes = make_shapes(
        vars(bert_shape(source)),
        options.width_mult_list or record.widths,
        options.depth_mult_list or record.depths,
        record.rule,
    )
    _check_target(target, options)
    loaded = load(source)
    if options.seq_len > loaded.model.config.max_position_embeddings:
        raise InputError(
            f"--seq_len {options.seq_len}: the network has {loaded.model.config.max_position_embeddings} positions"
        )
    rows = _dev_rows(options, loaded)
    if rows.skipped:
        say(f"{rows.skipped:,} bad rows skipped")
    reference = load_teacher(options.teacher_dir, loaded.labelled, "--teacher_dir") if options.teacher_dir else loaded
    best = evaluate_model(replace(reference, task=loaded.task), rows)[MAIN_METRIC[loaded.labelled.metric]]
    limits = limits_of(options, best)
    candidates = measure(loaded, shapes, rows, options.threads, options.seq_len, options.rounds)
    chosen = choose(candidates, limits)
    say(show(candidates, limits, best, "of teacher" if options.teacher_dir else "of whole"))
    if chosen is None and (target / RECORD).is_file():
        raise InputError(f"{nothing_found(candidates, limits)}; the earlier search in {target} is still there")
    with new_folder(target) as temporary:
        if chosen is not None:
            texts = [column[:PARITY_ROWS] for column in rows.texts]
            write_sub_model(loaded, chosen.shape, temporary / SUB_MODEL, temporary / STATIC, rows=texts)
        about = {
            "model_dir": source.name,
            "metric": MAIN_METRIC[loaded.labelled.metric],
            "reference_score": best,
            "dev_rows": len(rows),
            "skipped_rows": rows.skipped,
            "seq_len": options.seq_len,
            "threads": options.threads,
        }
        write_record(temporary, about, candidates, limits, chosen)
    if chosen is None:
        raise InputError(f"{nothing_found(candidates, limits)}; all that was measured is in {target}")
    say(
        f"chosen: {chosen.shape.name}: {chosen.score:.4f}, {chosen.latency_ms:.2f} ms, "
        f"{chosen.parameters / 1e6:.2f} M parameters; in {target}"
    )
    return chosen


def _check_target(target: Path, options: SearchOptions) -> None:
    check_new_folder(target, "--output_dir")
    if inside := inputs_inside(target, options.as_dict()):
        raise InputError(f"--output_dir {target}: holds {inside}, which is read; choose another folder")
    found = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if not found:
        return
    if not options.overwrite:
        raise InputError(f"--output_dir {target} is not empty; pass --overwrite or choose another folder")
    if RECORD not in found:
        raise InputError(f"--overwrite: {target} holds no search of ours; choose another folder")
    if others := found - {RECORD, PICTURE, SUB_MODEL, STATIC}:
        raise InputError(f"--overwrite: {target} also holds {', '.join(sorted(others))}; choose another folder")


def _dev_rows(options: SearchOptions, loaded: LoadedModel) -> Rows:
    if not options.data_dir and not options.dev_file:
        if found := recorded_dev(options.model_dir, loaded.labelled):
            assert isinstance(found[0], Rows)
            say(f"dev rows: {found[1]}")
            return found[0]
        if loaded.labelled.name not in TASKS:
            raise InputError("give --dev_file: the rows that the network was trained on are no longer there")
        task = replace(loaded.labelled, hub=TASKS[loaded.labelled.name].hub)
        return load_task_data(task, skip_bad_rows=options.skip_bad_rows).dev
    path = options.dev_file or find_split(options.data_dir or "", "dev")
    rows, _ = read_rows(path, loaded.labelled, options.skip_bad_rows)
    if len(rows) == 0:
        raise InputError(f"{path}: no rows to evaluate on")
    return rows


def write_record(
    folder: Path,
    about: Mapping[str, Any],
    candidates: Sequence[Candidate],
    limits: Sequence[Limit],
    chosen: Candidate | None,
) -> None:
    """Writes ``search.json`` and the picture.

    Args:
        folder: receives both.
        about: how the search was done; its ``metric`` names the score.
        candidates: what was measured.
        limits: the budget.
        chosen: the best within it; None when there is none.
    """
    front = pareto_front(candidates)
    found = {
        **about,
        "limits": {limit.name: limit.bound for limit in limits},
        "candidates": [{**_plain(each), "pareto": each in front, "within": fits(each, limits)} for each in candidates],
        "chosen": None if chosen is None else _plain(chosen),
    }
    write_json(folder / RECORD, found)
    plot(candidates, chosen, limits, about["metric"], folder / PICTURE)


def _plain(candidate: Candidate) -> dict[str, Any]:
    return {**vars(candidate), "shape": vars(candidate.shape)}


def measure(
    loaded: LoadedModel, shapes: Sequence[Shape], rows: Rows, threads: int, seq_len: int, rounds: int
) -> list[Candidate]:
    """Cuts, evaluates and times every sub-network.

    Args:
        loaded: the whole network.
        shapes: of the sub-networks.
        rows: dev.
        threads: of the timing.
        seq_len: tokens of the row that is timed.
        rounds: turns of every sub-network.
    """
    encoded = loaded.encoder.encode(rows.texts)
    graphs, found = [], []
    with scratch_folder(cache_folder() / "graphs", "search") as folder:
        for number, shape in enumerate(progress(shapes, "sub-networks", unit="network")):
            part = cut(loaded, shape)
            score = evaluate_model(part, rows, encoded=encoded)[MAIN_METRIC[loaded.labelled.metric]]
            place = folder / str(number)
            place.mkdir()
            save_graph(part, place)
            graphs.append(StaticGraph(place, threads, shapes=1))
            found.append((shape, part.parameters, encoder_parameters(part), score))
        latencies = alternating_latencies(graphs, loaded.encoder.pad_id, seq_len, rounds)
    return [Candidate(*values, latency) for values, latency in zip(found, latencies, strict=True)]


def alternating_latencies(graphs: Sequence[Any], pad_id: int, seq_len: int, rounds: int) -> list[float]:
    """Median latencies at batch 1 in milliseconds; the graphs take turns, so that noise falls on all of them."""
    # Any token but padding takes the same time.
    ids = np.full([1, seq_len], pad_id + 1, np.int64)
    inputs = {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}
    times: list[list[float]] = [[] for _ in graphs]
    for graph in graphs:
        for _ in range(3):
            graph.run(inputs)
    for _ in progress(range(rounds), "latency", unit="turn"):
        for number, graph in enumerate(graphs):
            for _ in range(RUNS_A_TURN):
                began = time.perf_counter()
                graph.run(inputs)
                times[number].append(1e3 * (time.perf_counter() - began))
    return [statistics.median(values) for values in times]


def limits_of(options: SearchOptions, reference: float) -> list[Limit]:
    """The budget.

    Args:
        options: of the search.
        reference: the score that the accuracy ratio is taken of.

    Raises:
        InputError: there is no share of this score.
    """
    found = []
    if options.max_latency_ms is not None:
        found.append(Limit("max_latency_ms", options.max_latency_ms, "latency_ms"))
    if options.max_params is not None:
        found.append(Limit("max_params", amount(options.max_params), "parameters"))
    if options.max_encoder_params is not None:
        found.append(Limit("max_encoder_params", amount(options.max_encoder_params), "encoder_parameters"))
    if options.min_accuracy_ratio is not None:
        if reference <= 0:
            raise InputError(
                f"--min_accuracy_ratio: the score that it is a share of must be above 0, it is {reference:.4f}"
            )
        found.append(Limit("min_accuracy_ratio", options.min_accuracy_ratio * reference, "score", least=True))
    return found


def fits(candidate: Candidate, limits: Sequence[Limit]) -> bool:
    """Whether a candidate keeps every limit."""
    return not any(limit.excess(candidate) for limit in limits)


def choose(candidates: Sequence[Candidate], limits: Sequence[Limit]) -> Candidate | None:
    """The most accurate candidate within the limits, the fastest of equals; None when there is none."""
    within = [each for each in candidates if fits(each, limits)]
    return max(within, key=lambda each: (each.score, -each.latency_ms), default=None)


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those of which no other is as fast and as accurate and better in one of both, from slow to fast."""

    def better(other: Candidate, each: Candidate) -> bool:
        at_least = other.score >= each.score and other.latency_ms <= each.latency_ms
        return at_least and (other.score > each.score or other.latency_ms < each.latency_ms)

    front = [each for each in candidates if not any(better(other, each) for other in candidates)]
    return sorted(front, key=lambda each: -each.latency_ms)


def nothing_found(candidates: Sequence[Candidate], limits: Sequence[Limit]) -> str:
    """Names the nearest candidate, by the sum of the shares by which limits are missed, and what it misses."""
    nearest = min(candidates, key=lambda each: sum(limit.excess(each) for limit in limits))
    missed = [
        f"{limit.attribute.replace('_', ' ')} {_number(getattr(nearest, limit.attribute))} "
        f"({'at least' if limit.least else 'at most'} {_number(limit.bound)}, --{limit.name})"
        for limit in limits
        if limit.excess(nearest)
    ]
    return f"no sub-network keeps all limits; the nearest is {nearest.shape.name} with {', '.join(missed)}"


def _number(value: float) -> str:
    return f"{value / 1e6:.2f}M" if value >= 1e5 else f"{value:.4g}"


def show(candidates: Sequence[Candidate], limits: Sequence[Limit], reference: float, share: str) -> str:
    """The table of all candidates, fast ones last; ``share`` heads the column of scores divided by the reference."""
    front = pareto_front(candidates)
    rows = [
        (
            each.shape.name,
            each.shape.heads,
            each.shape.neurons,
            len(each.shape.layers),
            f"{each.parameters / 1e6:.2f}",
            f"{each.encoder_parameters / 1e6:.2f}",
            f"{each.latency_ms:.2f}",
            f"{each.score:.4f}",
            f"{each.score / reference:.3f}" if reference else "",
            " ".join(["front"] * (each in front) + ["within"] * (bool(limits) and fits(each, limits))),
        )
        for each in sorted(candidates, key=lambda each: -each.latency_ms)
    ]
    header = ("width x depth", "heads", "neurons", "layers", "M params", "encoder", "ms", "score", share, "")
    return table(header, rows)


def plot(
    candidates: Sequence[Candidate],
    chosen: Candidate | None,
    limits: Sequence[Limit],
    metric: str,
    path: Path,
) -> None:
    """Draws score over latency: all candidates, the Pareto front, the limits, the chosen one."""
    front = pareto_front(candidates)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([c.latency_ms for c in front], [c.score for c in front], "-", color="0.6", label="Pareto front", zorder=1)
    axes.scatter(
        [c.latency_ms for c in candidates], [c.score for c in candidates], s=25, label="sub-networks", zorder=2
    )
    if chosen is not None:
        axes.scatter(
            [chosen.latency_ms], [chosen.score], s=120, facecolors="none", edgecolors="C3", label="chosen", zorder=3
        )
    for each in front:
        axes.annotate(
            each.shape.name, (each.latency_ms, each.score), textcoords="offset points", xytext=(5, -11), fontsize=7
        )
    for limit in limits:
        if limit.attribute == "latency_ms":
            axes.axvline(limit.bound, color="C1", linestyle=":", label="latency limit")
        if limit.attribute == "score":
            axes.axhline(limit.bound, color="C2", linestyle=":", label="score limit")
    axes.set_xlabel("median latency at batch 1, ms")
    axes.set_ylabel(f"dev {metric}")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
