"""A report as one page of HTML that holds everything it shows."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from console import duration
from core.metrics import MAIN_METRIC
from deploy.charts import Point, lines, scatter, style
from deploy.report_data import (
    TEACHES,
    Found,
    Group,
    command,
    confusion,
    curves,
    disagreements,
    sub_networks,
    teacher_of,
)

MASKED = "mlm_distill.run_distill"
# What scripts make, for people.
WORDS = {
    TEACHES: "fine-tuned BERT",
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
# Of more models than these trainings are folded up.
OPEN = 4
# Evaluations that tell how far a student is from its teacher.
DISTANCES = ("kl", "mse")
MOST_LABELS = 20
LONGEST_TEXT = 400
CSS = """
*{box-sizing:border-box}
body{margin:0 auto;max-width:80rem;padding:1rem;color:var(--ink);background:var(--page);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}
:root{--page:#ffffff;--soft:#f6f8fa;--right:0,158,115;--wrong:213,94,0}
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--soft:#161b22;--right:47,199,154;--wrong:230,159,0}}
h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.25rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1rem 0 .25rem}
p,figcaption{margin:.25rem 0 .75rem;max-width:46rem}figcaption{font-size:.85rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--faint);text-align:right;white-space:nowrap}
th:first-child,td:first-child,.words{text-align:left}
thead th{background:var(--soft);vertical-align:bottom;white-space:normal;text-wrap:balance}
td.text{white-space:normal;min-width:16rem;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem}
figure{margin:0}svg{width:100%;height:auto;display:block}svg text{fill:var(--ink)}
pre{background:var(--soft);padding:.75rem;overflow-x:auto;font-size:.8rem;white-space:pre-wrap;overflow-wrap:anywhere}
.count{display:block}summary{cursor:pointer;padding:.25rem 0}
"""


def page(
    models: Sequence[Found],
    groups: Sequence[Group],
    searches: Mapping[str, Sequence[Mapping[str, Any]]],
    environment: Mapping[str, str],
) -> str:
    """The page.

    Args:
        models: all of them, also those without a task.
        groups: the same by task, judged and measured.
        searches: sub-networks that searches have measured, by their folders.
        environment: what the machine and the versions are, by their names.
    """
    names = ", ".join(group.name for group in groups) or "encoders"
    count = f"{len(models)} model{'s' if len(models) > 1 else ''}"
    body = [
        f"<h1>{escape(names)}: {count}</h1>",
        f"<p>{escape(environment.get('date', ''))}</p>",
        *map(verdict, groups),
    ]
    body.append(summary(models, groups))
    body += [trade_offs(group) for group in groups]
    body += [search_part(name, known) for name, known in searches.items()]
    for group in groups:
        body += [confusion_part(group), disagreement_part(group)]
    body += [training_part(models), environment_part(environment), command_part(models)]
    title = escape(f"{names}: report")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{style()}{CSS}</style></head>\n<body>\n" + "\n".join(filter(None, body)) + "\n"
        "</body></html>\n"
    )


def verdict(group: Group) -> str:
    """A sentence on the fastest student of a task: what it gains, and what it costs."""
    base = group.base
    fast = min((one for one in group.models if one.speed), key=lambda one: one.speed["p50_ms"], default=None)
    if fast is None or fast is base or base.script != TEACHES or base.mean is None or fast.mean is None:
        return ""
    times = base.speed["p50_ms"] / fast.speed["p50_ms"]
    lost = 100 * (base.mean - fast.mean)
    apart = f"{abs(lost):.2f} points {'less' if lost > 0 else 'more'} {base.metric} on {dev_rows(fast)}"
    return (
        f"<p><strong>{escape(fast.name)}</strong> answers {times:.1f} times as fast as {escape(base.name)}, with "
        f"{apart}.</p>"
    )


def dev_rows(found: Found) -> str:
    """How many rows a figure is of."""
    count = found.metrics.get("dev_rows")
    return f"{count:,} dev rows" if isinstance(count, int) else "dev"


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], is_text: Sequence[int] = (), is_words: Sequence[int] = ()
) -> str:
    """A table whose cells are HTML already; some columns are numbered that hold running text, or words.

    The first column holds words too; all others are set as numbers are, to the right.
    """
    classes = dict.fromkeys(is_words, " class=words") | dict.fromkeys(is_text, " class='words text'")

    def line(cells: Sequence[str], opened: str, closed: str) -> str:
        return "".join(f"<{opened}{classes.get(n, '')}>{cell}</{closed}>" for n, cell in enumerate(cells))

    head = line(header, "th scope='col'", "th")
    lines_ = (f"<tr>{line(row, 'td', 'td')}</tr>" for row in rows)
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


def summary(models: Sequence[Found], groups: Sequence[Group]) -> str:
    """The table that a reader came for."""
    figures = {figure_name(one) for one in models if one.metric}
    only = next(iter(figures)) if len(figures) == 1 else ""
    unit = ", %" if all(one.metric in SHARES for one in models if one.metric) else ""
    header = ["model", "kind", escape(f"dev {only}{unit}" if only else "dev"), "dev rows", "seeds", "parameters"]
    header += ["on disk", "ms a row", "rows/s", "faster by", "same answer as its teacher", "training"]
    base = {id(one): group.base for group in groups for one in group.models}
    cells = []
    for one in models:
        every = one.others or [one]
        near = [near for each in every if (near := (each.metrics.get("dev_with_teacher") or {}).get("agreement"))]
        spent = [
            each.metrics["training"]["seconds"] for each in every if "seconds" in (each.metrics.get("training") or {})
        ]
        other = base.get(id(one))
        rows = one.metrics.get("dev_rows")
        cells.append(
            (
                escape(one.name),
                escape(WORDS.get(one.script, one.script or "export")),
                quality(one) + (f" ({escape(figure_name(one))})" if len(figures) > 1 and one.metric else ""),
                f"{rows:,}" if isinstance(rows, int) else "",
                str(len(every)),
                f"{one.parameters / 1e6:.1f} M",
                f"{one.size / 1e6:.0f} MB" if one.size else "",
                f"{one.speed['p50_ms']:.2f}" if one.speed else "",
                f"{one.speed['rows_per_second']:,.0f}" if one.speed else "",
                f"{other.speed['p50_ms'] / one.speed['p50_ms']:.1f}×" if one.speed and other and other.speed else "",
                f"{100 * statistics.mean(near):.1f} %" if near else "",
                duration(statistics.mean(spent)) if spent else "",
            )
        )
    kept = [n for n in range(len(header)) if any(row[n] for row in cells)]
    # What it is called and what kind it is, which every model has, come first.
    shown = table([header[n] for n in kept], [[row[n] for n in kept] for row in cells], is_words=(1,))
    told = ", ".join(f"{group.base.name} ({group.name})" for group in groups if group.base.speed)
    note = (
        f"Speed: one thread, text in and label out; ms a row: the median of single rows; faster than {escape(told)}. "
        if told
        else ""
    )
    if any(len(one.others) > 1 for one in models):
        note += "Of several seeds: means, and standard deviations behind ±."
    return shown + (note and f"<p>{note}</p>")


def trade_offs(group: Group) -> str:
    """Quality against latency and against size, with every part of once-for-all networks."""
    drawn = [one for one in group.models if one.mean is not None]
    if not drawn:
        return ""
    unit = f"dev {drawn[0].metric}, %"
    charts = []
    fast = [(n, one) for n, one in enumerate(drawn) if one.speed]
    if fast:
        points = [
            Point(one.name, one.speed["p50_ms"], 100 * (one.mean or 0), n, 100 * (one.deviation or 0))
            for n, one in fast
        ]
        charts.append(chart(scatter(points, "ms a row", unit), f"{group.name}: quality against latency"))
    points, joined = [], []
    for n, one in enumerate(drawn):
        points.append(Point(one.name, one.parameters / 1e6, 100 * (one.mean or 0), n, 100 * (one.deviation or 0)))
        whole = len(points) - 1
        for part in sub_networks(one):
            if (part["width"], part["depth"]) != (1, 1):
                name = f"{part['width']:.3g} × {part['depth']:.3g}"
                points.append(Point(name, part["parameters"] / 1e6, 100 * part["dev"][one.metric], n))
        joined.append(list(range(whole, len(points))))
    charts.append(
        chart(scatter(points, "million parameters", unit, joined), f"{group.name}: quality against size of the model")
    )
    return f"<h2>{escape(group.name)}: what accuracy costs</h2><div class='charts'>{''.join(charts)}</div>"


def search_part(name: str, known: Sequence[Mapping[str, Any]]) -> str:
    """The sub-networks that a search has measured."""
    if not known:
        return ""
    points = []
    for one in known:
        shape = f"{one['shape']['width']:.3g} × {one['shape']['depth']:.3g}"
        points.append(Point(shape, one["latency_ms"], 100 * one["score"], 0 if one.get("pareto") else 1))
    caption = f"search in {name}: the first colour is that of the front"
    shown = chart(scatter(points, "ms a row", "dev, %"), caption)
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
            # Beside the task's metric, what chose where the teacher did.
            for name in [name for name in DISTANCES if name in curve.evaluations and name not in scores]:
                shown = lines({name: curve.evaluations[name]}, "step", name, (name,))
                charts.append(chart(shown, f"{stage}: distance to the teacher's answers, on these rows and others"))
        if charts:
            opened = " open" if len(models) <= OPEN else ""
            shown = f"<summary>{escape(one.name)}</summary><div class='charts'>{''.join(charts)}</div>"
            parts.append(f"<details{opened}>{shown}</details>")
    return "<h2>Training</h2>" + "".join(parts) if parts else ""


def parts_of(losses: Mapping[str, Any]) -> dict[str, Any]:
    """Losses without their sum, where that has parts: beside a large one it would be drawn twice."""
    return {name: points for name, points in losses.items() if name != "loss" or len(losses) == 1}


def confusion_part(group: Group) -> str:
    """What rows of every label were taken for, shaded by their share; what is right in another colour."""
    parts = []
    labels = list(group.task.labels or ())
    if group.rows is None or len(labels) > MOST_LABELS:
        return ""
    for one in group.models:
        if one.logits is None:
            continue
        found = confusion(one, group.rows)
        cells = []
        for true, (name, taken) in enumerate(zip(labels, found["confusion"], strict=True)):
            total = max(1, sum(taken))
            shades = [
                f"<span class='count' style='background:rgba(var(--{'right' if n == true else 'wrong'}),"
                f"{0.6 * count / total:.2f})'>{count:,}</span>"
                for n, count in enumerate(taken)
            ]
            cells.append((escape(name), *shades, f"{sum(taken):,}", percent(found["labels"][name]["f1"])))
        header = ("label", *(f"taken for<br>{escape(name)}" for name in labels), "rows", "F1, %")
        said = {int(label) for label in one.logits.argmax(-1)}
        note = f"<p>says {escape(labels[said.pop()])} of every row</p>" if len(said) == 1 else ""
        parts.append(f"<div><h3>{escape(one.name)}</h3>{table(header, cells)}{note}</div>")
    if not parts:
        return ""
    count = f"{len(group.rows):,} rows with labels"
    return f"<h2>{escape(group.name)}: confusion matrices</h2><p>{count}</p><div class='charts'>{''.join(parts)}</div>"


def disagreement_part(group: Group) -> str:
    """The rows on which students and their teachers are furthest apart."""
    parts = []
    for one in group.models:
        teacher = teacher_of(one, group.models)
        if teacher is None or teacher is one or group.rows is None or one.logits is None or teacher.logits is None:
            continue
        found = disagreements(one, teacher, group.rows)
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
        count = int((one.logits.argmax(-1) != teacher.logits.argmax(-1)).sum())
        parts.append(
            f"<h3>{escape(one.name)} and {escape(teacher.name)}</h3><p>{count:,} of {len(group.rows):,} rows get "
            f"another label; the {len(found)} that are furthest apart:</p>{table(header, cells, (0,))}"
        )
    if not parts:
        return ""
    return f"<h2>{escape(group.name)}: where student and teacher disagree most</h2>{''.join(parts)}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def environment_part(environment: Mapping[str, str]) -> str:
    """Machine and versions."""
    rows = [(escape(name), escape(value)) for name, value in environment.items()]
    return f"<h2>Environment</h2>{table(('of this report', ''), rows, is_words=(1,))}"


def command_part(models: Sequence[Found]) -> str:
    """Commands that give the same runs again."""
    known = [text for one in models if (text := command(one))]
    return "<h2>Commands</h2>" + "".join(f"<pre>{escape(text)}</pre>" for text in known) if known else ""
