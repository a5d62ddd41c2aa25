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
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= step * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def line_plot(lines: Mapping[str, Sequence[tuple[float, float]]], x_name: str, y_name: str) -> str:
    """A plot of lines, each a sequence of points (x, y), with its name beside its end.

    Raises:
        ValueError: no point at all.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError("a plot needs points")
    x_low, x_high = min(0.0, *(x for x, _ in points)), max(x for x, _ in points)
    y_low, y_high = min(y for _, y in points), max(y for _, y in points)
    y_low, y_high = (y_low - 1, y_high + 1) if y_low == y_high else (y_low, y_high)
    x_high = x_high if x_high > x_low else x_low + 1

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y_high - y) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return round(across, 1), round(down, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in ticks(y_low, y_high):
        _, down = at(x_low, value)
        parts.append(f'<path d="M{LEFT} {down}H{WIDTH - RIGHT}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{down + 4}" text-anchor="end">{value:g}</text>')
    for value in ticks(x_low, x_high):
        across, _ = at(value, y_low)
        parts.append(f'<text x="{across}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{value:g}</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x},{y}" for x, y in (at(*point) for point in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        across, down = at(*line[-1])
        parts.append(f'<text x="{across}" y="{down - 8}" text-anchor="end" fill="{colour}">{escape(name)}</text>')
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    parts += [
        f'<text x="{LEFT + (WIDTH - LEFT - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_name)}</text>',
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
