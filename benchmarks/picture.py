"""Plots as SVG, without a library: a page of the repository shows them as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 24, 56
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two others."""
    step = (high - low) / count or 1.0
    size = 10 ** math.floor(math.log10(step))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= 0.75 * step)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


class _Page:
    """A page with two axes.

    Args:
        x: the smallest and the largest value.
        y: the same.
        x_name: below the axis.
        y_name: beside it.
    """

    def __init__(self, x: tuple[float, float], y: tuple[float, float], x_name: str, y_name: str) -> None:
        self._x = x if x[0] < x[1] else (x[0], x[0] + 1)
        self._y = y if y[0] < y[1] else (y[0] - 1, y[0] + 1)
        middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
        across = LEFT + (WIDTH - LEFT - RIGHT) / 2
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            'font-size="13">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{across}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_name)}</text>',
            f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>',
        ]
        for value in ticks(*self._y):
            down = self.at(self._x[0], value)[1]
            self.parts.append(f'<path d="M{LEFT} {down}H{WIDTH - RIGHT}" stroke="#d0d7de"/>')
            self.parts.append(f'<text x="{LEFT - 8}" y="{down + 4}" text-anchor="end">{value:g}</text>')
        for value in ticks(*self._x):
            place = self.at(value, self._y[0])[0]
            self.parts.append(f'<text x="{place}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{value:g}</text>')

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point stands on the page."""
        across = LEFT + (x - self._x[0]) / (self._x[1] - self._x[0]) * (WIDTH - LEFT - RIGHT)
        down = TOP + (self._y[1] - y) / (self._y[1] - self._y[0]) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    def text(self) -> str:
        """The whole file."""
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def line_plot(lines: Mapping[str, Sequence[tuple[float, float]]], x_name: str, y_name: str) -> str:
    """A plot of lines, each a sequence of points (x, y), with its name at its end.

    Raises:
        ValueError: no point at all.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError("a plot needs points")
    (x_low, x_high), (y_low, y_high) = ((min(side), max(side)) for side in zip(*points, strict=True))
    page = _Page((min(0.0, x_low), x_high), (y_low, y_high), x_name, y_name)
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x},{y}" for x, y in (page.at(*point) for point in line))
        page.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        across, down = page.at(*line[-1])
        page.parts.append(f'<text x="{across}" y="{down - 8}" text-anchor="end" fill="{colour}">{escape(name)}</text>')
    return page.text()


def scatter_plot(points: Mapping[str, tuple[float, float]], x_name: str, y_name: str) -> str:
    """A plot of points (x, y), each with its name beside it.

    Raises:
        ValueError: no point at all.
    """
    if not points:
        raise ValueError("a plot needs points")
    (x_low, x_high), (y_low, y_high) = ((min(side), max(side)) for side in zip(*points.values(), strict=True))
    # Room around, for names.
    wide, high = 0.15 * (x_high - x_low) or 1.0, 0.12 * (y_high - y_low) or 1.0
    page = _Page((max(0.0, x_low - wide), x_high + wide), (y_low - high, y_high + high), x_name, y_name)
    for number, (name, point) in enumerate(points.items()):
        colour = COLOURS[number % len(COLOURS)]
        across, down = page.at(*point)
        is_right = point[0] > (x_low + x_high) / 2
        side, anchor = (across - 9, "end") if is_right else (across + 9, "start")
        page.parts.append(f'<circle cx="{across}" cy="{down}" r="5" fill="{colour}"/>')
        page.parts.append(f'<text x="{side}" y="{down + 4}" text-anchor="{anchor}">{escape(name)}</text>')
    return page.text()
