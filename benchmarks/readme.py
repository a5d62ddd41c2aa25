"""Writes the tables of the README and of ``docs/results.md`` from the files in ``benchmarks/results``, and a picture.

python -m benchmarks.readme
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.common import RESULTS, ROOT, read_result
from console import run_script
from deploy.charts import Point, scatter, standalone
from files import write_atomically

PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
PICTURE = ROOT / "docs" / "pictures" / "recipes.svg"


def main(argv: list[str]) -> None:
    """Replaces what stands between the marks ``<!-- name -->`` and ``<!-- /name -->``, and draws the picture."""
    del argv
    for page in PAGES:
        write_atomically(page, filled(page.read_text(encoding="utf-8")))
    write_atomically(PICTURE, recipes_picture())


def filled(text: str) -> str:
    """A page with its tables made anew; parts whose measurement is missing stay as they are."""
    bodies = {"recipes": _recipes} if (RESULTS / "tinybert_serving.json").is_file() else {}
    for name, render in TABLES.items():
        if (RESULTS / f"{name}.json").is_file():
            bodies[name] = partial(_with_source, name, render)
    for name, body in bodies.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, mark, rest = text.partition(begin)
        if mark:
            text = f"{head}{begin}{body()}\n{end}{rest.partition(end)[2]}"
    return text


def _with_source(name: str, render: Callable[[Mapping[str, Any]], str]) -> str:
    record = read_result(name)
    return f"{render(record['figures'])}\n\n{_source(record)}"


def _source(record: Mapping[str, Any]) -> str:
    machine, versions = record["machine"], record["versions"]
    return (
        f"`{record['command']}`, {record['date']}, {machine['cores']} cores of {machine['processor']}, "
        f"paddlepaddle {versions['paddlepaddle']}; the run took {record['minutes']:g} minutes."
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _sst2(figures: Mapping[str, Any]) -> str:
    rows = []
    for name, title in (("teacher", "teacher"), ("alone", "Bi-LSTM alone"), ("distilled", "Bi-LSTM distilled")):
        part = figures[name]
        spread = f" ± {100 * part['standard_deviation']:.2f}" if "standard_deviation" in part else ""
        low, high = part["bootstrap_95"]
        minutes = part["training_minutes"]
        shown = f"{minutes:g}" if isinstance(minutes, (int, float)) else ", ".join(f"{m:g}" for m in minutes)
        rows.append(
            [
                title,
                f"{part['parameters'] / 1e6:.1f} M",
                f"{100 * part['accuracy']:.2f}{spread}",
                f"{100 * low:.1f} – {100 * high:.1f}",
                f"{part['rows_visited']:,}",
                shown,
            ]
        )
    if "together" in figures:
        rows[0][0] = "teachers, mean of three"
        rows.insert(1, ["the mean of their answers", "", f"{100 * figures['together']:.2f}", "", "", ""])
    header = ["model", "parameters", "dev accuracy, %", "95 % interval over rows", "rows visited", "training, minutes"]
    others = "Paddle's published example: 44 %; Intel Neural Compressor's: 67 %"
    return f"{_table(header, rows)}\n\n**Gap closed: {figures['gap_closed']:.0%}** ({others})."


def _comparison(
    header: list[str], ours: tuple[str, str], stock: tuple[str, str, float], tuned: tuple[str, float]
) -> str:
    """Ours against the stock side, and against the stock side that is given our kernels; amounts come formatted."""
    rows = [
        [*ours, ""],
        [stock[0], stock[1], f"{stock[2]:.1f}×"],
        ["the same, given our matrix kernels and threads", tuned[0], f"{tuned[1]:.1f}×"],
    ]
    return _table([*header, "ours is faster by"], rows)


def _finetune(figures: Mapping[str, Any]) -> str:
    rates = figures["rows_per_second"]
    return _comparison(
        ["fine-tuning", "rows/s"],
        ("ours", f"{rates['ours']:,.0f}"),
        ("stock dygraph loop", f"{rates['stock']:,.1f}", figures["ratio_to_stock"]),
        (f"{rates['stock_tuned']:,.1f}", figures["ratio_to_stock_with_matrix_kernels"]),
    )


def _teacher(figures: Mapping[str, Any]) -> str:
    rates = figures["rows_per_second"]
    compared = _comparison(
        ["teacher outputs", "rows/s"],
        ("ours: static graph, sorted by length", f"{rates['ours']:,.0f}"),
        ("dygraph, random batches", f"{rates['dygraph']:,.1f}", figures["ratio_to_dygraph"]),
        (f"{rates['dygraph_tuned']:,.1f}", figures["ratio_to_dygraph_with_matrix_kernels"]),
    )
    return (
        f"{compared}\n\n"
        f"{figures['gflops']:.0f} GFLOP/s: {figures['share_of_matrix_rate']:.0%} of what this machine reaches in a "
        f"matrix product with our settings ({figures['matrix_gflops']:.0f}; without them "
        f"{figures['stock_matrix_gflops']:.0f})."
    )


def _schedule(figures: Mapping[str, Any]) -> str:
    hours = figures["hours"]
    compared = _comparison(
        [f"six epochs over {figures['transfer_rows']:,} rows", "hours"],
        ("ours", f"{hours['ours']:.2f}"),
        ("published schedule", f"{hours['published']:.1f}", figures["ratio_to_published"]),
        (f"{hours['published_with_matrix_kernels']:.1f}", figures["ratio_to_published_with_matrix_kernels"]),
    )
    proof = figures["proof"]
    both = " and ".join(
        f"{100 * proof['accuracy'][name]:.2f} ± {100 * proof['standard_deviation'][name]:.2f} % ({name})"
        for name in ("cached", "live")
    )
    return (
        f"{compared}\n\n"
        f"Both give the same student: on {proof['rows']:,} rows, stored and live teacher logits differ by at most "
        f"{proof['largest_relative_difference_of_a_logit']:.1e}, and the students reach {both}."
    )


def _student(figures: Mapping[str, Any]) -> str:
    rows = []
    for name, title in (("defaults", "defaults: batch 64, Adadelta"), ("adam_128", "batch 128, Adam, width 384")):
        part = figures[name]
        parts = part["milliseconds"]
        rows.append(
            [
                title,
                f"{part['rows_per_second']:,.0f}",
                f"{part['share_of_matrix_rate']:.0%}",
                *(f"{parts[key]:.1f}" for key in PARTS),
            ]
        )
    header = ["student's step", "rows/s", "of the matrix rate", "whole, ms", "LSTM", "embedding", "optimiser"]
    return _table(header, rows)


PARTS = ("whole_step", "lstm_forward_and_backward", "embedding_forward_and_backward", "optimizer")


def _memory(figures: Mapping[str, Any]) -> str:
    peaks = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in figures["peak_gb_after"].items())
    return f"Peak memory for {figures['rows']:,} rows: **{figures['peak_gb']:.2f} GB** (after {peaks})."


def _serving(figures: Mapping[str, Any]) -> str:
    rows = []
    for record in (*figures["over_teacher"], *figures["over_bert_base"]):
        rows.append(
            [
                record["model"],
                str(record["threads"]),
                *(f"{record[key]:.2f}" for key in ("p50_ms", "p90_ms", "p99_ms")),
                f"{record['rows_per_second']:,.0f}",
                f"{record['latency_speedup']:.1f}×",
                f"{record['throughput_speedup']:.1f}×",
            ]
        )
    header = ["model", "threads", "p50, ms", "p90", "p99", "rows/s, batch 32", "faster, batch 1", "faster, batch 32"]
    return _table(header, rows)


NAMES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "accuracy_on_unseen_texts": "accuracy on texts not in train",
}


def _task(figures: Mapping[str, Any]) -> str:
    """Teacher, student alone and students distilled over several transfer sets, of any task."""
    sets = list(figures["transfer_sets"])
    shown = [name for name in NAMES if name in figures["alone"]["dev"]]
    if figures["teacher"]["unseen_dev_rows"] == figures["teacher"]["dev_rows"]:
        shown.remove("accuracy_on_unseen_texts")
    earlier = figures.get("earlier_teachers", [])
    rounds = [f"after round {number}" for number in range(1, len(earlier) + 1)]
    parts = [
        *zip(["teacher, of labels", *rounds] if rounds else ["teacher"], [*earlier, figures["teacher"]], strict=True),
        ("Bi-LSTM alone", figures["alone"]),
    ]
    if "together" in figures:
        parts.append(("teacher and Bi-LSTMs alone together", figures["together"]))
    names = [*[""] * len(parts), *sets]
    parts += [(f"distilled, {name.replace('-', ' ')}", figures[name]) for name in sets]
    rows = []
    for name, (title, part) in zip(names, parts, strict=True):
        spread = part.get("standard_deviation", {})
        cells = [
            f"{100 * part['dev'][metric]:.2f}" + (f" ± {100 * spread[metric]:.2f}" if metric in spread else "")
            for metric in shown
        ]
        low, high = part["bootstrap_95"]
        closed = [
            f"{figures['gap_closed'][name][metric]:.0%}"
            if metric in figures.get("gap_closed", {}).get(name, {})
            else "–"
            for metric in shown[:2]
        ]
        learnt = f"{figures['transfer_sets'][name]['rows']:,}" if name in sets else ""
        visited = f"{part['rows_visited']:,}" if "rows_visited" in part else ""
        rows.append(
            [
                title,
                f"{part['parameters'] / 1e6:.1f} M",
                *cells,
                f"{100 * low:.1f} – {100 * high:.1f}",
                " / ".join(closed) if name in sets else "",
                learnt,
                visited,
            ]
        )
    closing = "gap closed, " + " / ".join(NAMES[metric] for metric in shown[:2])
    header = [
        "model",
        "parameters",
        *(f"dev {NAMES[metric]}, %" for metric in shown),
        "95 % interval",
        closing,
        "transfer set",
        "rows visited",
    ]
    return _table(header, rows)


def _augment_speed(figures: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{title}, {figures['n_iter']} copies a row",
            f"{figures[task]['rows_per_second']['ours']:,.0f}",
            f"{figures[task]['rows_per_second']['published']:,.0f}",
            f"{figures[task]['ratio']:.1f}×",
        ]
        for task, title in (("sst-2", "English"), ("chnsenticorp", "Chinese"))
    ]
    return _table(["augmentation and encoding", "ours, rows/s", "plain loop, rows/s", "ours is faster by"], rows)


def _ofa(figures: Mapping[str, Any]) -> str:
    shown = [name for name in ("accuracy", "f1") if name in figures["teacher"]]

    def scores(metrics: Mapping[str, float] | None) -> str:
        return " / ".join(f"{100 * metrics[name]:.2f}" for name in shown) if metrics else ""

    rows = [
        [
            f"{part['width']:.4g} × {part['depth']:.4g}",
            f"{part['heads']}, {part['neurons']:,}, {len(part['layers'])}",
            f"{part['encoder_parameters'] / 1e6:.2f} M",
            scores(part.get("after_width_stage")),
            scores(part["trained"]),
            scores(part["cut"]),
            scores(part.get("alone")),
        ]
        for part in figures["sub_networks"]
    ]
    judged = f"dev {' / '.join(NAMES[name] for name in shown)}, %, after the width stage"
    ways = ["after the depth stage", "cut only", "fine-tuned alone"]
    header = ["width × depth", "heads, neurons, layers", "encoder", judged, *ways]
    faster = [
        [
            "teacher" if record["width"] == "teacher" else f"{record['width']} × {record['depth']}",
            f"{record['p50_ms']:.2f}",
            f"{record['rows_per_second']:,.0f}",
            f"{record['latency_speedup']:.2f}×",
            f"{record['throughput_speedup']:.2f}×",
        ]
        for record in figures["speed"]
    ]
    speed = _table(
        ["exported, two threads", "p50, ms", "rows/s, batch 32", "faster, batch 1", "faster, batch 32"], faster
    )
    minutes = ", ".join(f"{stage} {value:g}" for stage, value in figures["minutes"].items())
    settings, counted = figures["settings"], figures["rows"]
    drawn = " (drawn at random)" if settings.get("max_train_rows") else ""
    unlabelled = counted["learning_rows"] - counted["train_rows"]
    more = f" and {unlabelled:,} without labels" if unlabelled else ""
    return (
        f"Teacher: {scores(figures['teacher'])} %. {counted['train_rows']:,} training rows{drawn}{more}, "
        f"{settings['num_train_epochs']} epochs over widths and {settings['depth_epochs']} over depths; alone "
        f"{figures['alone_settings']['num_train_epochs']} epochs, over the rows with labels only. Training, minutes: "
        f"{minutes}.\n\n"
        f"{_table(header, rows)}\n\n{speed}"
    )


def _ofa_closer(figures: Mapping[str, Any]) -> str:
    """The earlier way of the same task stands beside it, each below its own teacher."""
    earlier = read_result("ofa_qqp" if "f1" in figures["teacher"] else "ofa_sst2")["figures"]
    known = {(part["width"], part["depth"]): part["trained"]["accuracy"] for part in earlier["sub_networks"]}

    def beside(accuracy: float, teacher: Mapping[str, float]) -> float:
        return 100 * (accuracy - teacher["accuracy"])

    parts = figures["sub_networks"]
    now = [beside(part["trained"]["accuracy"], figures["teacher"]) for part in parts]
    before = [beside(known[part["width"], part["depth"]], earlier["teacher"]) for part in parts]
    rows = [
        [
            f"{part['width']:.4g} × {part['depth']:.4g}",
            f"{part['encoder_parameters'] / 1e6:.2f} M",
            f"{100 * part['after_width_stage']['accuracy']:.2f}" if "after_width_stage" in part else "",
            f"{100 * part['trained']['accuracy']:.2f}",
            f"{mine:+.2f}",
            f"{theirs:+.2f}",
            f"{100 * part['near']['agreement']:.1f} %",
            f"{part['near']['kl']:.3f}",
        ]
        for part, mine, theirs in zip(parts, now, before, strict=True)
    ]
    rows.append(["mean", "", "", "", f"{statistics.mean(now):+.2f}", f"{statistics.mean(before):+.2f}", "", ""])
    header = ["width × depth", "encoder", "dev accuracy, %, after the width stage", "after the depth stage"]
    header += ["points to the teacher", "as above", "same label as the teacher", "divergence"]
    settings, counted = figures["settings"], figures["rows"]
    minutes = ", ".join(f"{stage} {value:g}" for stage, value in figures["minutes"].items())
    return (
        f"Teacher: {100 * figures['teacher']['accuracy']:.2f} %. {counted['learning_rows']:,} rows, of which "
        f"{counted['train_rows']:,} have labels; passes over them with widths: {settings['num_train_epochs']}, with "
        f"depths: {settings['depth_epochs']}; {settings['sub_networks_per_step']} sub-networks a batch. Training, "
        f"minutes: {minutes}.\n\n{_table(header, rows)}"
    )


def _ofa_guides(figures: Mapping[str, Any]) -> str:
    def spread(part: Mapping[str, Any], name: str, digits: int, factor: int = 1) -> str:
        deviation = f" ± {factor * part['deviation'][name]:.{digits}f}" if "deviation" in part else ""
        return f"{factor * part[name]:.{digits}f}{deviation}"

    settings = figures["settings"]
    rows = [
        [
            name,
            f"{({**settings, **settings['ways'].get(name, {})})['max_train_rows']:,}",
            f"{part['training_seconds']:.0f}",
            spread(part, "accuracy", 2, 100),
            spread(part, "agreement", 1, 100),
            spread(part, "kl", 4),
            spread(part, "two_thirds_kl", 4),
        ]
        for name, part in figures["ways"].items()
    ]
    header = ["depth stage", "rows", "seconds", "dev accuracy, mean of all, %", "same label as the teacher, %"]
    header += ["divergence", "of 0.6667 × 1"]
    seeds = figures["seeds"]
    counted = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return f"Teacher: {100 * figures['teacher']['accuracy']:.2f} %; {counted}.\n\n{_table(header, rows)}"


def _ofa_step(figures: Mapping[str, Any]) -> str:
    titles = {"fine_tuning": "our fine-tuning", "stock": "stock dygraph", "stock_tuned": "the same, given our kernels"}
    rows = [[titles[name], f"{value:.2f}"] for name, value in figures["in_steps_of"].items()]
    return _table(["a step over four widths, teacher included, costs", "steps"], rows)


WAYS = {
    "alone-random": "alone, from random weights",
    "alone-teacher": "alone, from the teacher's layers",
    "distilled": "distilled",
}


def _scores(dev: Mapping[str, float], spread: Mapping[str, float | None] | None = None) -> str:
    found = []
    for name in ("accuracy", "f1"):
        if name in dev:
            more = (spread or {}).get(name)
            found.append(f"{100 * dev[name]:.2f}" + ("" if more is None else f" ± {100 * more:.2f}"))
    return " / ".join(found)


def _tinybert(figures: Mapping[str, Any]) -> str:
    teacher = figures["teacher"]
    size = f"{teacher['parameters'] / 1e6:.1f} M"
    rows = [["teacher", size, "", _scores(teacher["dev"]), "", f"{teacher['rows_visited']:,}", ""]]
    for shape, ways in figures["students"].items():
        for way, title in WAYS.items():
            if way not in ways:
                continue
            part = ways[way]
            closed = ways.get("gap_closed", {}) if way == "distilled" else {}
            rows.append(
                [
                    f"{shape.replace('x', ' × ')} {title}",
                    f"{part['parameters'] / 1e6:.1f} M",
                    str(len(part["seeds"])),
                    _scores(part["dev"], part["standard_deviation"]),
                    " / ".join(f"{value:.0%}" for value in closed.values()),
                    f"{part['rows_visited']:,}",
                    ", ".join(f"{value:g}" for value in part["training_minutes"]),
                ]
            )
    metrics = "accuracy / F1" if "f1" in teacher["dev"] else "accuracy"
    header = ["model", "parameters", "seeds", f"dev {metrics}, %", "gap closed", "rows visited", "training, minutes"]
    found = _table(header, rows)
    if figures["ablation"]:
        parts = [
            [
                name,
                _scores(part["dev"]),
                f"{100 * part['dev_with_teacher']['agreement']:.1f}",
                f"{part['learning_rows']:,}",
                f"{part['rows_visited']:,}",
            ]
            for name, part in figures["ablation"].items()
        ]
        found += "\n\n" + _table(
            ["4 × 312, one seed", f"dev {metrics}, %", "answers as the teacher's, %", "rows", "rows visited"], parts
        )
    return found


def _tinybert_copies(figures: Mapping[str, Any]) -> str:
    teacher, copies = figures["teacher"], figures["copies"]
    titles = {
        "none": "rows alone",
        "neighbours": "and copies, words replaced by neighbours in the embedding table",
        "a masked LM": "and copies, words replaced by what the masked LM puts there",
    }
    rows = [["teacher", "", _scores(teacher["dev"]), "", "", ""]]
    for way, title in titles.items():
        if way in copies["students"]:
            part = copies["students"][way]
            rows.append(
                [
                    title,
                    str(len(part["seeds"])),
                    _scores(part["dev"], part["standard_deviation"]),
                    f"{100 * part['dev_with_teacher']['agreement']:.1f}",
                    f"{part['dev_with_teacher']['kl']:.3f}",
                    f"{part['learning_rows']:,}",
                ]
            )
    metrics = "accuracy / F1" if "f1" in teacher["dev"] else "accuracy"
    header = ["4 × 312 learns from", "seeds", f"dev {metrics}, %", "answers as the teacher's, %", "KL from it", "rows"]
    asked = copies["masked_lm"]
    return (
        f"{copies['settings']['N']} copies a text, {copies['settings']['max_steps']} steps of each stage; the masked "
        f"LM finds {100 * asked['accuracy']:.1f} % of hidden pieces (perplexity {asked['perplexity']:.0f}).\n\n"
        + _table(header, rows)
    )


def _tinybert_step(figures: Mapping[str, Any]) -> str:
    tokens = figures["tokens_per_second"]
    compared = _comparison(
        ["general distillation, a step", "tokens/s"],
        ("ours", f"{tokens['ours']:,.0f}"),
        ("stock dygraph step", f"{tokens['stock']:,.0f}", figures["ratio_to_stock"]),
        (f"{tokens['stock_tuned']:,.0f}", figures["ratio_to_stock_with_matrix_kernels"]),
    )
    return f"{compared}\n\nWith the teacher's features from the disk: {tokens['ours_stored']:,.0f} tokens/s."


def _tinybert_augment(figures: Mapping[str, Any]) -> str:
    rates = figures["rows_per_second"]
    return _comparison(
        ["candidates by a masked language model", "rows/s"],
        ("ours", f"{rates['ours']:,.0f}"),
        ("one word at a time", f"{rates['published']:,.2f}", figures["ratio_to_published"]),
        (f"{rates['published_tuned']:,.2f}", figures["ratio_to_published_with_matrix_kernels"]),
    )


def _tinybert_ofa(figures: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{part['width']:.4g}",
            f"{part['heads']}, {part['neurons']:,}",
            f"{part['parameters'] / 1e6:.1f} M",
            _scores(part["trained"]),
            _scores(part["cut"]),
            f"{part['p50_ms']:.2f}",
            f"{part['rows_per_second']:,.0f}",
            f"{part['throughput_speedup']:.2f}×",
        ]
        for part in figures["widths"]
    ]
    header = ["width", "heads, neurons", "parameters", "dev accuracy, %", "cut only", "p50, ms", "rows/s", "faster"]
    return (
        f"The start, 4 × 312: {_scores(figures['start'])} %. {figures['settings']['max_steps']:,} steps over the four "
        f"widths: {figures['minutes']:g} minutes.\n\n{_table(header, rows)}"
    )


def _corpus_speed(figures: Mapping[str, Any]) -> str:
    rates, words = figures["rows_per_second"], figures["words"]
    row = ["instances of masked language modelling", f"{rates['ours']:,.0f}", f"{rates['loop']:,.0f}"]
    header = ["", "ours, rows/s", "plain loop, rows/s", "ours is faster by"]
    shown = _table(header, [[*row, f"{figures['ratio']:.1f}×"]])
    return (
        f"{shown}\n\n"
        f"Words: other ones than the loop's in {words['lines_with_other_words']:,} of {words['lines']:,} lines with "
        f"{words['words']:,} words."
    )


def _demo_run(figures: Mapping[str, Any]) -> str:
    names = {"teacher": "teacher", "alone": "Bi-LSTM, labels alone", "distilled": "Bi-LSTM, distilled"}
    rows = [
        [
            names[model["model"]],
            f"{100 * model['accuracy']:.1f}",
            "" if model["gap_closed"] is None else f"{100 * model['gap_closed']:.0f} %",
            f"{model['parameters'] / 1e6:.1f} M",
            f"{model['bytes'] / 1e6:.0f} MB",
            f"{model['p50_ms']:.1f}",
            f"{model['rows_per_second']:,.0f}",
            f"{model['latency_speedup']:.1f}×",
        ]
        for model in figures["models"]
    ]
    header = ["model", "dev accuracy, %", "gap closed", "parameters", "on disk", "ms a sentence", "rows/s", "faster by"]
    return _table(header, rows)


def _notebook_settings(figures: Mapping[str, Any]) -> str:
    rates = figures["rows_per_second"]
    rows = [
        ["a script", f"{rates['script']:,.0f}", ""],
        ["a notebook after `process.tune_here()`", f"{rates['notebook']:,.0f}", f"{figures['notebook_of_script']:.0%}"],
        ["neither", f"{rates['plain']:,.0f}", f"{figures['plain_of_script']:.0%}"],
    ]
    return _table(["fine-tuning", "rows/s", "of the script's"], rows)


SERVED = {
    "teacher": "teacher, 6 × 384",
    "4x312": "TinyBERT 4 × 312",
    "3x384": "TinyBERT 3 × 384",
    "ofa-0.6667x0.5": "once-for-all 2/3 × 1/2",
    "ofa-0.5x0.5": "once-for-all 1/2 × 1/2",
    "bilstm": "Bi-LSTM",
}


def _accuracies() -> dict[str, float]:
    """The accuracies on SST-2's dev rows that other measurements have found, of those that there are."""
    found: dict[str, float] = {}
    if (RESULTS / "sst2.json").is_file():
        known = read_result("sst2")["figures"]
        found |= {"teacher": known["teacher"]["accuracy"], "bilstm": known["distilled"]["accuracy"]}
    if (RESULTS / "ofa_sst2.json").is_file():
        for part in read_result("ofa_sst2")["figures"]["sub_networks"]:
            found[f"ofa-{part['width']:.4g}x{part['depth']:.4g}"] = part["trained"]["accuracy"]
    if (RESULTS / "tinybert_sst2.json").is_file():
        for shape, ways in read_result("tinybert_sst2")["figures"]["students"].items():
            if "distilled" in ways:
                found[shape] = ways["distilled"]["dev"]["accuracy"]
    return found


# Of the students in the picture: what makes them, and the script.
RECIPES = {
    "bilstm": "`distill_lstm.bert_distill`",
    "ofa-0.5x0.5": "`ofa_bert.run_glue_ofa`",
    "ofa-0.6667x0.5": "`ofa_bert.run_glue_ofa`",
    "3x384": "`tinybert.task_distill`",
    "4x312": "`tinybert.task_distill`",
    "teacher": "`finetune.run_classifier`",
}


def _minutes() -> dict[str, str]:
    """How long the trainings took, by the names of the students; of several seeds the median."""
    found: dict[str, str] = {}
    if (RESULTS / "sst2.json").is_file():
        known = read_result("sst2")["figures"]
        found["bilstm"] = f"{statistics.median(known['distilled']['training_minutes']):.0f}"
        found["teacher"] = f"{known['teacher']['training_minutes']:.0f}"
    if (RESULTS / "ofa_sst2.json").is_file():
        whole = f"{sum(read_result('ofa_sst2')['figures']['minutes'].values()):.0f}, for all sizes"
        found |= dict.fromkeys(("ofa-0.5x0.5", "ofa-0.6667x0.5"), whole)
    if (RESULTS / "tinybert_sst2.json").is_file():
        for shape, ways in read_result("tinybert_sst2")["figures"]["students"].items():
            if "distilled" in ways:
                found[shape] = f"{statistics.median(ways['distilled']['training_minutes']):.0f}"
    return found


def _recipes() -> str:
    record = read_result("tinybert_serving")
    served, known, minutes = record["figures"], _accuracies(), _minutes()
    rows = []
    for name, script in RECIPES.items():
        if name not in known:
            continue
        forms = [served[form][name] for form in ("1", "1, int8") if form in served]
        rows.append(
            [
                SERVED[name],
                script,
                f"{100 * known[name]:.2f}",
                " / ".join(f"{speed['p50_ms']:.1f}" for speed in forms),
                " / ".join(f"{speed['rows_per_second']:,.0f}" for speed in forms),
                f"{served['parameters'][name] / 1e6:.1f} M",
                minutes.get(name, ""),
            ]
        )
    header = [
        "SST-2",
        "script",
        "dev accuracy in fp32, %",
        "ms a sentence, fp32 / int8" if "1, int8" in served else "ms a sentence",
        "rows/s, batch 32",
        "parameters",
        "training, minutes",
    ]
    machine = record["machine"]
    int8 = ""
    if "1, int8" in served:
        forms = [model["forms"]["onnx-int8"] for model in read_result("formats")["figures"]["models"].values()]
        lost = [100 * (form["fp32"] - form["int8"]) for form in forms]
        int8 = (
            f" (int8: ONNX Runtime; it [loses](docs/results.md#forms-of-an-export) {min(lost):.2f} to {max(lost):.2f} "
            "points of accuracy)"
        )
    return (
        f"{_table(header, rows)}\n\nAccuracies: means over three seeds, of the once-for-all network and the "
        f"teacher one run. Speed: one thread of {machine['processor']}, static graphs{int8}, text in and label out. "
        "Minutes: of the Bi-LSTM and the TinyBERTs the median of the seeds, two trainings at a time with a core each; "
        "the once-for-all network and the teacher had both cores; the processors are in "
        "[docs/results.md](docs/results.md). The Bi-LSTM and the teacher learnt from all training rows, the "
        f"others from {read_result('ofa_sst2')['figures']['settings']['max_train_rows']:,} of them; all students "
        "also from sentences of reviews without labels."
    )


def recipes_picture() -> str:
    """Accuracy against the time of a sentence."""
    served, known = read_result("tinybert_serving")["figures"]["1"], _accuracies()
    shown = [name for name in RECIPES if name in known]
    scripts = list(dict.fromkeys(RECIPES.values()))
    points = [
        Point(SERVED[name], served[name]["p50_ms"], 100 * known[name], scripts.index(RECIPES[name])) for name in shown
    ]
    return standalone(scatter(points, "milliseconds a sentence (median, one thread)", "SST-2 dev accuracy, %"))


def _encoder(figures: Mapping[str, Any]) -> str:
    points = figures["evaluations"]
    shown = [points[n] for n in sorted({round(k * (len(points) - 1) / 5) for k in range(6)})]
    rows = [
        [f"{p['step']:,}", f"{p['tokens'] / 1e6:.1f} M", f"{100 * p['accuracy']:.1f}", f"{p['perplexity']:.1f}"]
        for p in shown
    ]
    shape, size = figures["shape"], figures["parameters"] / 1e6
    return (
        f"{shape['num_hidden_layers']} layers × {shape['hidden_size']}, {size:.1f} M parameters, a "
        f"vocabulary of {figures['vocabulary']:,}; {figures['corpus']['tokens'] / 1e6:.1f} M tokens of text; "
        f"{figures['training_minutes']:g} minutes.\n\n"
        + _table(["step", "tokens read", "accuracy at hidden places of held-out text, %", "perplexity"], rows)
    )


def _mlm_step(figures: Mapping[str, Any]) -> str:
    steps = figures["steps_per_second"]
    rows = [
        ["ours, stored answers", f"{steps['stored']:.2f}", ""],
        ["ours, the teacher is asked", f"{steps['asked']:.2f}", f"{figures['ratio_to_asked']:.1f}×"],
        ["PaddleNLP in dygraph, the teacher is asked", f"{steps['stock']:.3f}", f"{figures['ratio_to_stock']:.1f}×"],
        [
            "the same, given our matrix kernels and threads",
            f"{steps['stock_tuned']:.3f}",
            f"{figures['ratio_to_stock_with_matrix_kernels']:.1f}×",
        ],
    ]
    return (
        f"{_table(['masked-LM distillation', 'steps/s', 'stored answers are faster by'], rows)}\n\n"
        f"{figures['bytes_per_place']} bytes a hidden place."
    )


def _mlm_stages(figures: Mapping[str, Any]) -> str:
    models = figures["models"]
    tasks = list(dict.fromkeys(task for model in models.values() for task in model["tasks"]))
    titles = {
        "encoder": "the encoder itself",
        "alone": "MiniRBT-H256 alone",
        "one_stage": "in one stage",
        "two_stage": "in two stages",
    }
    rows = []
    for name, model in models.items():
        cells = []
        for task in tasks:
            known = model["tasks"].get(task, {})
            wanted = [metric for metric in ("em", "f1", "accuracy") if metric in known]
            cells.append(" / ".join(_with_deviation(known[metric]["per_seed"]) for metric in wanted) or "–")
        classified = [task["accuracy"]["per_seed"] for task in model["tasks"].values() if "accuracy" in task]
        # Of the same seed on all tasks, so that the mean has a deviation too.
        means = [statistics.mean(of_seed) for of_seed in zip(*classified, strict=False)]
        cells.append(_with_deviation(means) if means else "–")
        held_out = model["held_out"]
        agreement = f"{100 * held_out['agreement']:.1f}" if "agreement" in held_out else "–"
        hidden = [f"{100 * held_out['accuracy']:.1f}", f"{held_out['perplexity']:.1f}", agreement]
        rows.append([titles[name], f"{model['parameters'] / 1e6:.1f} M", f"{model['steps']:,}", *hidden, *cells])
    told = ["accuracy at hidden places, %", "perplexity", "agreement with its teacher, %"]
    read = {task for model in models.values() for task, metrics in model["tasks"].items() if "em" in metrics}
    shown = [f"{task}, EM / F1" if task in read else task for task in tasks]
    table = _table(["", "parameters", "steps", *told, *shown, "mean of the tasks"], rows)
    sizes = ", ".join(f"{task} {options['max_train_rows']:,}" for task, options in figures["settings"]["tasks"].items())
    return f"{table}\n\nRows of the fine-tuning: {sizes}, drawn at random."


def _with_deviation(values: Sequence[float]) -> str:
    """A mean in percent; of several, with its standard deviation."""
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread}"


def _bf16(figures: Mapping[str, Any]) -> str:
    rates, apart = (figures[name] for name in ("passes", "outputs"))
    rows = []
    for part, title in (("students", "Bi-LSTM, answers in"), ("fine-tuned", "BERT, fine-tuned in")):
        known = figures[part]
        for name in known:
            if name == "difference":
                continue
            record = known[name]
            accuracy = f"{100 * record['dev']['accuracy']:.2f} ± {100 * record['standard_deviation']['accuracy']:.2f}"
            above = f"{100 * known['difference'][name]:+.2f}" if name in known["difference"] else ""
            rows.append([f"{title} {name}", accuracy, above])
    speeds = " and ".join(f"{rates['rows_per_second'][name]:,.0f} rows/s in {name}" for name in ("fp32", "bf16"))
    return (
        f"{_table(['', 'SST-2 dev, %', 'above fp32'], rows)}\n\nThe teacher answers {speeds}: "
        f"{rates['ratio']:.2f} times as fast. Its answers in bf16 name the same label for "
        f"{100 * apart['agreement']:.2f} % of the rows; logits are {apart['mean_absolute']:.4f} apart on average, "
        f"{apart['largest']:.3f} at most, where their spread is {apart['spread_of_logits']:.2f}."
    )


def _tinybert_serving(figures: Mapping[str, Any]) -> str:
    known = _accuracies()
    threads = [name for name in figures if name.isdigit()]
    rows = []
    for name, title in SERVED.items():
        accuracy = f"{100 * known[name]:.2f}" if name in known else ""
        row = [title, f"{figures['parameters'][name] / 1e6:.1f} M", accuracy]
        for count in threads:
            record = figures[count][name]
            row += [f"{record['p50_ms']:.2f}", f"{record['rows_per_second']:,.0f}"]
        rows.append(row)
    speeds = [cell for n in threads for cell in (f"p50, ms, {n} thread(s)", f"rows/s, batch 32, {n} thread(s)")]
    return _table(["model", "parameters", "SST-2 dev, %", *speeds], rows)


FORMS = {"paddle": "static graph", "paddle-bf16": "static graph, bf16", "onnx": "ONNX", "onnx-int8": "ONNX, int8"}
SERVED_FORMS = {
    "bilstm": "Bi-LSTM",
    "teacher": "teacher, 6 × 384",
    "tinybert-4x312": "TinyBERT 4 × 312",
    "tinybert-3x384": "TinyBERT 3 × 384",
    "ofa-4x312-two-thirds": "once-for-all, 2/3 of TinyBERT 4 × 312",
}


def _formats(figures: Mapping[str, Any]) -> str:
    rows = []
    for name, model in figures["models"].items():
        int8 = model["forms"]["onnx-int8"]
        for form, title in FORMS.items():
            if form not in model["threads"]["1"]:
                continue
            speed = model["threads"]["1"][form]
            rows.append(
                [
                    f"{SERVED_FORMS[name]}, {title}",
                    f"{model['forms'][form.removesuffix('-bf16')]['bytes'] / 1e6:.1f} MB",
                    # What bf16 loses is not measured there.
                    "" if form == "paddle-bf16" else f"{100 * int8['int8' if form == 'onnx-int8' else 'fp32']:.2f}",
                    f"{speed['p50_ms']:.2f}",
                    f"{speed['latency_speedup']:.1f}×",
                    f"{speed['rows_per_second']:,.0f}",
                    f"{speed['throughput_speedup']:.1f}×",
                ]
            )
    header = ["", "size", "SST-2 dev, %", "p50, ms", "faster, batch 1", "rows/s, batch 32", "faster, batch 32"]
    other = []
    for name, model in figures["models"].items():
        if "calibrated" in model:
            known = model["calibrated"]
            kinds = ("dynamic", "calibrated")
            cells = [f"{100 * known[f'{kind}_accuracy']:.2f} % in {known[f'{kind}_mean_ms']:.1f} ms" for kind in kinds]
            other.append([SERVED_FORMS[name], *cells])
    return (
        f"One thread, text in and label out.\n\n{_table(header, rows)}\n\nScales of what flows between layers, taken "
        f"as it comes (which is what is exported) or calibrated on {figures['calibration_rows']} training rows:\n\n"
        + _table(["int8", "as it comes", "calibrated"], other)
    )


def _server(figures: Mapping[str, Any]) -> str:
    rows = []
    for name, forms in figures["models"].items():
        for form, rates in forms.items():
            one, many, apart = (rates[way] for way in ("one client", "many clients", "many clients, apart"))
            title = f"{SERVED_FORMS[name]}, {FORMS[form]}"
            rows.append([title, f"{one:,.0f}", f"{apart:,.0f}", f"{many:,.0f}", f"{many / apart:.1f}×"])
    many = f"{figures['clients']} clients"
    return _table(["rows/s over HTTP", "one client", f"{many}, each row apart", f"{many}", "sharing brings"], rows)


def _peers(figures: Mapping[str, Any]) -> str:
    topics = {name: value for name, value in figures.items() if isinstance(value, dict) and "rows_per_second" in value}
    rows = []
    for topic, known in topics.items():
        rates = known["rows_per_second"]
        for title, is_ours in (("ours", True), ("PyTorch", False)):
            found = {name: rate for name, rate in rates.items() if name.startswith("ours") is is_ours}
            cells = ", ".join(
                f"{name.removeprefix('ours').strip()} {rate:,.0f}".strip() for name, rate in found.items()
            )
            rows.append([topic if is_ours else "", title, cells, f"{known['ratio_to_best']:.2f}×" if is_ours else ""])
    versions = figures["pytorch"]
    without = "" if figures["has_bf16"] else " (no bf16: the processor has none)"
    earlier: dict[str, list[str]] = {}
    for topic, known in topics.items():
        earlier.setdefault(known.get("measured", ""), []).append(topic)
    others = [f"{', '.join(names)}: an earlier run, {how}." for how, names in earlier.items() if how]
    return (
        f"PyTorch {versions['torch']} with transformers {versions['transformers']}, SST-2 rows, rows a second"
        + f"{without}:\n\n"
        + _table(["", "", "rows/s", "ours / PyTorch's best"], rows)
        + "".join(f"\n\n{line}" for line in others)
    )


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    **dict.fromkeys(("sst2", "sst2_averaged"), _sst2),
    "finetune_speed": _finetune,
    "teacher_speed": _teacher,
    "schedule": _schedule,
    "student_step": _student,
    "memory": _memory,
    "serving": _serving,
    **dict.fromkeys(("qqp", "tnews", "afqmc", "ablation"), _task),
    **dict.fromkeys((f"qqp{way}" for way in ("_partners", "_aligned", "_nearest", "_nearest_aligned")), _task),
    **dict.fromkeys((f"chnsenticorp{way}" for way in ("", "_adapted", "_relearnt", "_together")), _task),
    "augment_speed": _augment_speed,
    "ofa_sst2": _ofa,
    "ofa_qqp": _ofa,
    "ofa_sst2_closer": _ofa_closer,
    "ofa_qqp_closer": _ofa_closer,
    "ofa_guides": _ofa_guides,
    "ofa_step": _ofa_step,
    "tinybert_sst2": _tinybert,
    "tinybert_qqp": _tinybert,
    **dict.fromkeys(("tinybert_sst2_copies", "tinybert_qqp_copies"), _tinybert_copies),
    "tinybert_step": _tinybert_step,
    "tinybert_augment": _tinybert_augment,
    "tinybert_serving": _tinybert_serving,
    "tinybert_ofa": _tinybert_ofa,
    "corpus_speed": _corpus_speed,
    **dict.fromkeys(("encoder_zh", "encoder_en", "encoder_en_head"), _encoder),
    "mlm_step": _mlm_step,
    "demo_run": _demo_run,
    "notebook_settings": _notebook_settings,
    **dict.fromkeys(("mlm_stages", "mlm_stages_with_text"), _mlm_stages),
    "bf16": _bf16,
    "formats": _formats,
    "server": _server,
    "peers": _peers,
}

if __name__ == "__main__":
    raise SystemExit(run_script(main))
