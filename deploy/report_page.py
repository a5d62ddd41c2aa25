"""A report as one page of HTML that holds everything it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from console import duration
from core.metrics import MAIN_METRIC
from data.sources import Rows
from data.tasks import Task
from deploy.charts import Point, lines, scatter, style
from deploy.report_data import (
    Found,
    alike,
    command,
    confusion,
    curves,
    disagreements,
    sub_networks,
    tasks_of,
    teacher_of,
)

MASKED = "mlm_distill.run_distill"
# What scripts make, for people.
KINDS = {
    "finetune.run_classifier": "teacher",
    "finetune.run_mrc": "reading comprehension",
    "distill_lstm.small": "Bi-LSTM, labels alone",
    "distill_lstm.bert_distill": "Bi-LSTM, distilled",
    "tinybert.task_distill": "TinyBERT",
    "tinybert.general_distill": "TinyBERT, general",
    "ofa_bert.run_glue_ofa": "once-for-all BERT",
    MASKED: "masked language model",
}
SHARES = set(MAIN_METRIC.values())
LOSSES = {"loss": "all", "hard": "labels (class loss)", "soft": "teacher (distillation loss)"}
# More trainings than these are folded up.
OPEN = 4
LONGEST_TEXT = 400
CSS = """
*{box-sizing:border-box}
body{margin:0 auto;max-width:80rem;padding:1rem;color:var(--ink);background:var(--page);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK SC",sans-serif}
:root{--page:#ffffff;--soft:#f6f8fa;--shade:0,114,178}
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--soft:#161b22;--shade:86,180,233}}
h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.25rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1rem 0 .25rem}
p,figcaption{margin:.25rem 0 .75rem;max-width:46rem}figcaption{font-size:.85rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--faint);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}thead th{background:var(--soft);vertical-align:bottom}
td.text{white-space:normal;min-width:16rem;overflow-wrap:anywhere;text-align:left}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem}
figure{margin:0}svg{width:100%;height:auto;display:block}svg text{fill:var(--ink)}
pre{background:var(--soft);padding:.75rem;overflow-x:auto;font-size:.8rem;white-space:pre-wrap;overflow-wrap:anywhere}
summary{cursor:pointer;padding:.25rem 0}.same{opacity:.6}
"""


def page(
    models: Sequence[Found],
    rows: Mapping[str, Rows],
    searches: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str],
) -> str:
    """The page.

    Args:
        models: judged and measured.
        rows: that they were judged on, by task.
        searches: records of searches for sub-networks, by their folders' names.
        environment: what the machine and the versions are, by their names.
    """
    names = ", ".join(task.name for task in tasks_of(models)) or "models"
    body = [f"<h1>{escape(names)}: {len(models)} model{'s' if len(models) > 1 else ''}</h1>"]
    body.append(summary(models))
    for task in tasks_of(models):
        theirs = [one for one in models if one.task is not None and alike(one.task, task)]
        body.append(trade_offs(task, theirs))
    body += [search_part(name, record) for name, record in searches.items()]
    body.append(training_part(models))
    for task in tasks_of(models):
        if task.name in rows:
            theirs = [one for one in models if one.logits is not None and one.task and alike(one.task, task)]
            body += [confusion_part(theirs, rows[task.name]), disagreement_part(theirs, rows[task.name])]
    body += [environment_part(environment), command_part(models)]
    title = escape(f"{names}: report")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{style()}{CSS}</style></head>\n<body>\n" + "\n".join(filter(None, body)) + "\n"
        "</body></html>\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], is_text: Sequence[int] = ()) -> str:
    """A table whose cells are HTML already; ``is_text`` numbers columns of running text."""
    head = "".join(f"<th scope='col'>{cell}</th>" for cell in header)
    lines_ = (
        "<tr>"
        + "".join(f"<td{' class=text' if n in is_text else ''}>{cell}</td>" for n, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines_)}</tbody></table></div>"


def chart(svg: str, caption: str) -> str:
    """A chart with what it shows below it."""
    # Names of its groups would stand on the page again for the next one.
    drawn = svg.replace('<g id="', '<g data-part="')
    shown = escape(caption)
    return f"<figure role='img' aria-label='{shown}'>{drawn}<figcaption>{shown}</figcaption></figure>"


def percent(value: float | None) -> str:
    """A share in percent."""
    return "" if value is None else f"{100 * value:.2f}"


def quality(found: Found) -> str:
    """The main figure on dev, with its deviation over seeds; shares in percent."""
    if found.mean is None:
        return ""
    write = percent if found.metric in SHARES else "{:.4f}".format
    return write(found.mean) + ("" if found.deviation is None else f" ± {write(found.deviation)}")


def figure_name(found: Found) -> str:
    """What the main figure is, for a table that has several."""
    return f"{found.metric} at hidden places" if found.script == MASKED else str(found.metric or "")


def summary(models: Sequence[Found]) -> str:
    """The table that a reader came for."""
    figures = {figure_name(one) for one in models if one.metric}
    named = f"dev {next(iter(figures))}, %" if len(figures) == 1 else "dev"
    header = ["model", "kind", named, "seeds", "parameters", "on disk", "p50 ms", "rows/s", "speed-up"]
    header += ["says as teacher", "training"]
    first = next((one for one in models if one.speed), None)
    cells = []
    for one in models:
        near = one.metrics.get("dev_with_teacher") or {}
        # The smaller of two likenesses is no use to a reader: agreement where there is one.
        alike_ = near.get("agreement")
        seconds = (one.metrics.get("training") or {}).get("seconds")
        cells.append(
            (
                escape(one.name),
                escape(KINDS.get(one.script, one.script or "export")),
                quality(one) + (f" ({escape(figure_name(one))})" if len(figures) > 1 and one.metric else ""),
                str(max(1, len(one.others))),
                f"{one.parameters / 1e6:.1f} M",
                f"{one.size / 1e6:.0f} MB" if one.size else "",
                f"{one.speed['p50_ms']:.2f}" if one.speed else "",
                f"{one.speed['rows_per_second']:,.0f}" if one.speed else "",
                f"{first.speed['p50_ms'] / one.speed['p50_ms']:.1f}×" if one.speed and first else "",
                f"{100 * alike_:.1f} %" if alike_ is not None else "",
                duration(seconds) if seconds is not None else "",
            )
        )
    kept = [n for n in range(len(header)) if any(row[n] for row in cells)]
    note = f"Speed: one thread, text in and label out, over {escape(first.name)}." if first else ""
    return table([header[n] for n in kept], [[row[n] for n in kept] for row in cells]) + (note and f"<p>{note}</p>")


def trade_offs(task: Task, models: Sequence[Found]) -> str:
    """Quality against latency and against size, with every part of once-for-all networks."""
    drawn = [one for one in models if one.mean is not None]
    if not drawn:
        return ""
    factor, unit = 100.0, f"dev {drawn[0].metric}, %"
    charts = []
    fast = [(n, one) for n, one in enumerate(drawn) if one.speed]
    if fast:
        points = [
            Point(one.name, one.speed["p50_ms"], factor * (one.mean or 0), n, factor * (one.deviation or 0))
            for n, one in fast
        ]
        charts.append(chart(scatter(points, "ms a row, batch 1", unit), f"{task.name}: quality against latency"))
    points, joined = [], []
    for n, one in enumerate(drawn):
        points.append(Point(one.name, one.parameters / 1e6, factor * (one.mean or 0), n, factor * (one.deviation or 0)))
        parts = [part for part in sub_networks(one) if "parameters" in part and one.metric in part["dev"]]
        whole = len(points) - 1
        for part in parts:
            if (part["width"], part["depth"]) == (1, 1):
                continue
            name = f"{part['width']:.3g} × {part['depth']:.3g}"
            points.append(Point(name, part["parameters"] / 1e6, factor * part["dev"][one.metric], n))
        joined.append(list(range(whole, len(points))))
    charts.append(
        chart(scatter(points, "million parameters", unit, joined), f"{task.name}: quality against size of the model")
    )
    return f"<h2>{escape(task.name)}: what accuracy costs</h2><div class='charts'>{''.join(charts)}</div>"


def search_part(name: str, record: Mapping[str, Any]) -> str:
    """The sub-networks that a search has measured."""
    known = [one for one in record.get("candidates") or [] if one.get("latency_ms") and one.get("score") is not None]
    if not known:
        return ""
    points = []
    for one in known:
        width, depth = one["shape"]["width"], one["shape"]["depth"]
        points.append(
            Point(f"{width:.3g} × {depth:.3g}", one["latency_ms"], 100 * one["score"], 0 if one["pareto"] else 1)
        )
    threads, length = record.get("threads"), record.get("seq_len")
    caption = f"search in {name}: rows of {length} tokens, {threads} thread(s); the first colour is that of the front"
    shown = chart(scatter(points, "ms a row, batch 1", f"dev {record.get('metric', 'score')}, %"), caption)
    return f"<h2>Search: {escape(name)}</h2><div class='charts'>{shown}</div>"


def training_part(models: Sequence[Found]) -> str:
    """Losses and evaluations of every run against its steps."""
    parts = []
    for one in models:
        charts = []
        for curve in curves(one):
            stage = f"{one.name}, {curve.name}" if curve.name else one.name
            losses = {LOSSES.get(name, name): points for name, points in parts_of(curve.losses).items()}
            if losses:
                charts.append(chart(lines(losses, "step", "loss"), f"{stage}: losses, means between lines of the log"))
            scores = {k: v for k, v in curve.evaluations.items() if k == one.metric}
            scores = scores or {
                k: v for k, v in curve.evaluations.items() if k != "loss" or len(curve.evaluations) == 1
            }
            if scores:
                caption = f"{stage}: evaluations on the rows that choose checkpoints"
                unit = next(iter(scores)) if len(scores) == 1 else "distance"
                charts.append(chart(lines(scores, "step", unit, tuple(scores)), caption))
        if charts:
            opened = " open" if len(parts) < OPEN else ""
            shown = f"<summary>{escape(one.name)}</summary><div class='charts'>{''.join(charts)}</div>"
            parts.append(f"<details{opened}>{shown}</details>")
    return "<h2>Training</h2>" + "".join(parts) if parts else ""


def parts_of(losses: Mapping[str, Any]) -> dict[str, Any]:
    """Losses without their sum, where that has parts: beside a large one it would be drawn twice."""
    return {name: points for name, points in losses.items() if name != "loss" or len(losses) == 1}


def confusion_part(models: Sequence[Found], rows: Rows) -> str:
    """What rows of every label were taken for, shaded by their share."""
    parts = []
    for one in models:
        found = confusion(one, rows)
        labels = list(found["labels"])
        if len(labels) > 20:
            continue
        cells = []
        for name, taken in zip(labels, found["confusion"], strict=True):
            total = max(1, sum(taken))
            shades = [
                f"<span style='display:block;background:rgba(var(--shade),{0.6 * count / total:.2f})'>{count:,}</span>"
                for count in taken
            ]
            f1 = found["labels"][name]["f1"]
            cells.append((escape(name), *shades, f"{sum(taken):,}", percent(f1)))
        header = ("label", *(f"taken for<br>{escape(name)}" for name in labels), "rows", "F1, %")
        parts.append(f"<div><h3>{escape(one.name)}</h3>{table(header, cells)}</div>")
    count = f"{len(rows):,} rows with labels"
    return f"<h2>What is taken for what</h2><p>{count}</p><div class='charts'>{''.join(parts)}</div>" if parts else ""


def disagreement_part(models: Sequence[Found], rows: Rows) -> str:
    """The rows on which students and their teachers are furthest apart."""
    parts = []
    for one in models:
        teacher = teacher_of(one, models)
        if teacher is None or teacher is one:
            continue
        found = disagreements(one, teacher, rows)
        if not found:
            parts.append(f"<h3>{escape(one.name)}</h3><p>labels every row as {escape(teacher.name)} does</p>")
            continue
        cells = [
            (
                " / ".join(escape(_short(text)) for text in row.texts),
                escape(row.label or ""),
                f"{escape(row.student[0])} ({row.student[1]:.0%})",
                f"{escape(row.teacher[0])} ({row.teacher[1]:.0%})",
            )
            for row in found
        ]
        header = ("text", "label", escape(one.name), escape(teacher.name))
        parts.append(f"<h3>{escape(one.name)} and {escape(teacher.name)}</h3>{table(header, cells, (0,))}")
    return "<h2>Where student and teacher disagree most</h2>" + "".join(parts) if parts else ""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def environment_part(environment: Mapping[str, str]) -> str:
    """Machine and versions."""
    rows = [(escape(name), escape(value)) for name, value in environment.items()]
    return f"<h2>Environment</h2>{table(('of this report', ''), rows)}"


def command_part(models: Sequence[Found]) -> str:
    """Commands that give the same runs again."""
    known = [text for one in models if (text := command(one))]
    return "<h2>Commands</h2>" + "".join(f"<pre>{escape(text)}</pre>" for text in known) if known else ""
