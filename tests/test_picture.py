"""Plots: well-formed, with every point inside, and round numbers at the axes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.picture import HEIGHT, WIDTH, line_plot, ticks

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30))
def test_every_point_is_on_the_page(points):
    page = ElementTree.fromstring(line_plot({"a <b>": points}, "x & y", "z"))
    (line,) = page.iter("{http://www.w3.org/2000/svg}polyline")
    found = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    assert len(found) == len(points)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in found)


def test_larger_values_stand_higher():
    page = ElementTree.fromstring(line_plot({"a": [(1, 10), (2, 20)]}, "x", "y"))
    (line,) = page.iter("{http://www.w3.org/2000/svg}polyline")
    (x1, y1), (x2, y2) = (tuple(map(float, pair.split(","))) for pair in line.get("points").split())
    assert x1 < x2 and y1 > y2


@given(NUMBERS, st.floats(1e-3, 1e6))
def test_ticks_are_between_and_few(low, span):
    found = ticks(low, low + span)
    assert all(low - span * 1e-6 <= value <= low + span * (1 + 1e-6) for value in found)
    assert 1 <= len(found) <= 7


def test_ticks_by_hand():
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(12, 61) == [20, 30, 40, 50, 60]


def test_a_plot_needs_points():
    with pytest.raises(ValueError, match="a plot needs points"):
        line_plot({"a": []}, "x", "y")
