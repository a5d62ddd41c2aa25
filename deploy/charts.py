"""Charts as SVG, light and dark: for a page that holds them, or as files of their own."""

from __future__ import annotations

import base64
import io
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl

# It tells of its list of fonts, once, wherever somebody has logging print what is only informative.
logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)

from matplotlib.axes import Axes  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

# What matplotlib draws with, and what a page or the reader's system makes of it. Colours of series: Okabe and Ito's,
# which those who see few colours tell apart, with a lighter blue for dark pages.
INK, FAINT = "#010203", "#040506"
SERIES = ("#010a10", "#010a11", "#010a12", "#010a13", "#010a14", "#010a15")
LIGHT = {INK: "#1f2328", FAINT: "#d0d7de"} | dict(
    zip(SERIES, ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#8a6d00", "#57606a"), strict=True)
)
DARK = {INK: "#e6edf3", FAINT: "#3d444d"} | dict(
    zip(SERIES, ("#56b4e9", "#e69f00", "#2fc79a", "#dd8bc8", "#d6b93c", "#9198a1"), strict=True)
)
NAMES = {INK: "--ink", FAINT: "--faint"} | {colour: f"--series-{number}" for number, colour in enumerate(SERIES)}
SETTINGS = {
    "svg.fonttype": "none",
    # Else every drawing would have other names in it.
    "svg.hashsalt": "paddledistill",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
FIGURE = (6.4, 3.8)
# Points between a mark and its name.
APART = 6


class Chart(str):
    """A chart as the SVG element of a page; in a notebook a cell that ends with one shows it."""

    def __repr__(self) -> str:
        return f"<chart, {len(self):,} characters of SVG>"

    def _repr_html_(self) -> str:
        content = base64.b64encode(standalone(self).encode()).decode()
        return f'<img style="max-width:46rem;width:100%" src="data:image/svg+xml;base64,{content}">'


@dataclass(frozen=True)
class Point:
    """A mark of a scatter chart.

    Attributes:
        name: stands beside it.
        x: its place.
        y: its place.
        series: number of its colour.
        spread: standard deviation of y; 0 draws no bar.
    """

    name: str
    x: float
    y: float
    series: int = 0
    spread: float = 0.0


def style() -> str:
    """Style sheet of a page that holds charts: the colours by their names, for light and for dark."""
    light, dark = (";".join(f"{NAMES[key]}:{value}" for key, value in side.items()) for side in (LIGHT, DARK))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def scatter(points: Sequence[Point], x_name: str, y_name: str, connect: Sequence[Sequence[int]] = ()) -> Chart:
    """A chart of marks with their names beside them.

    Args:
        points: one at least.
        x_name: below the axis.
        y_name: beside it.
        connect: numbers of points that a line joins, such as the parts of one network.

    Raises:
        ValueError: no point.
    """
    if not points:
        raise ValueError("a chart needs points")
    with mpl.rc_context(SETTINGS):
        figure, axes = _figure(x_name, y_name)
        for numbers in connect:
            line = sorted((points[n].x, points[n].y) for n in numbers)
            axes.plot([x for x, _ in line], [y for _, y in line], color=FAINT, linewidth=1, zorder=1)
        for point in points:
            colour = SERIES[point.series % len(SERIES)]
            axes.errorbar(
                point.x, point.y, yerr=point.spread or None, fmt="o", color=colour, markersize=6, capsize=3, zorder=3
            )
        axes.margins(x=0.12, y=0.15)
        _name_points(figure, axes, points)
        return _svg(figure)


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_name: str,
    y_name: str,
    marked: Sequence[str] = (),
    log_y: bool = False,
) -> Chart:
    """A chart of lines (x, y) with a legend.

    Args:
        series: points by the name of their line.
        x_name: below the axis.
        y_name: beside it.
        marked: names of lines whose points are drawn too.
        log_y: whether the axis is logarithmic.

    Raises:
        ValueError: no point at all.
    """
    if not any(series.values()):
        raise ValueError("a chart needs points")
    with mpl.rc_context(SETTINGS):
        figure, axes = _figure(x_name, y_name)
        if log_y:
            axes.set_yscale("log")
        for number, (name, points) in enumerate(series.items()):
            marker = "o" if name in marked or len(points) == 1 else ""
            x, y = [x for x, _ in points], [y for _, y in points]
            axes.plot(x, y, marker=marker, color=SERIES[number % len(SERIES)], label=name, markersize=4)
        if len(series) > 1:
            for text in axes.legend(frameon=False).get_texts():
                text.set_parse_math(False)
        # Steps are whole ones.
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _svg(figure)


def standalone(svg: str) -> str:
    """A chart as a file of its own, with the colours in it: a browser shows it as its reader likes pages, too."""
    back = "@media(prefers-color-scheme:dark){svg{background:#0d1117}}"
    return svg.replace("<defs>", f"<style>{style()}svg{{background:#ffffff}}{back}</style>\n<defs>", 1)


def _figure(x_name: str, y_name: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=FIGURE, layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    for label in (axes.set_xlabel(x_name), axes.set_ylabel(y_name)):
        # A dollar is a dollar.
        label.set_parse_math(False)
    axes.tick_params(length=0)
    return figure, axes


def _name_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Writes every name where it covers neither a mark nor a name that stands already, as far as there is room."""
    with warnings.catch_warnings():
        # Names in Chinese: the page's reader has the font, whoever measures the text need not.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.draw_without_rendering()
        _place_names(figure, axes, points)


def _place_names(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    renderer, inside = figure.canvas.get_renderer(), axes.get_window_extent()  # type: ignore[attr-defined]
    marks = [axes.transData.transform((point.x, point.y)) for point in points]
    taken: list = []
    sides = [
        ((APART, 0), "left", "center"),
        ((-APART, 0), "right", "center"),
        ((0, APART), "center", "bottom"),
        ((0, -APART), "center", "top"),
        ((APART, APART), "left", "bottom"),
        ((-APART, -APART), "right", "top"),
        ((APART, -APART), "left", "top"),
        ((-APART, APART), "right", "bottom"),
    ]
    for number, point in enumerate(points):
        best = None
        for place, across, along in sides:
            text = axes.annotate(
                point.name,
                (point.x, point.y),
                place,
                textcoords="offset points",
                ha=across,
                va=along,
                fontsize=9,
                color=SERIES[point.series % len(SERIES)],
                parse_math=False,
            )
            box = text.get_window_extent(renderer).padded(1)
            covered = sum(box.overlaps(other) for other in taken)
            covered += sum(box.contains(*mark) for n, mark in enumerate(marks) if n != number)
            covered += 2 * (box.x0 < inside.x0 or box.x1 > inside.x1 + 8 or box.y0 < inside.y0 or box.y1 > inside.y1)
            if best is None or covered < best[0]:
                if best is not None:
                    best[1].remove()
                best = (covered, text, box)
            else:
                text.remove()
            if covered == 0:
                break
        assert best is not None
        taken.append(best[2])


def _svg(figure: Figure) -> Chart:
    """The chart as an element of a page, its colours by name."""
    file = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(file, format="svg", metadata=nothing)
    text = re.sub(r"^.*?(?=<svg)", "", file.getvalue(), flags=re.DOTALL)
    for colour, name in NAMES.items():
        text = text.replace(colour, f"var({name})")
    # As wide as its place.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*pt"', r"\1", re.sub(r' height="[^"]*pt"', "", text, count=1), count=1)
    return Chart(text)
