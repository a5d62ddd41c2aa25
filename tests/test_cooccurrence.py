"""What stands beside what: counted by hand, and the vectors that come of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.cooccurrence import WINDOW, neighbour_vectors, neighbours
from data.ragged import Ragged


def counted(rows, size):
    return neighbours([Ragged.from_rows(rows)], size).toarray()


def test_neighbours_are_counted_both_ways_within_rows():
    # 0 beside 1 twice, 1 beside 2 once; rows do not touch. Number -1 takes up a place.
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 2
    expected[1, 2] = expected[2, 1] = 1
    expected[0, 2] = expected[2, 0] = 1
    np.testing.assert_array_equal(counted([[0, 1], [1, -1, 0, 2], [3]], 4), expected)


def test_a_window_reaches_five_places():
    row = [0, *[-1] * (WINDOW - 1), 1]
    assert counted([row], 2)[0, 1] == 1
    assert counted([[0, -1, *row[1:]]], 2)[0, 1] == 0


@given(st.lists(st.lists(st.integers(-1, 4), max_size=12), max_size=6))
def test_any_rows_are_counted_as_a_plain_loop_counts(rows):
    expected = np.zeros((5, 5))
    for row in rows:
        for i, one in enumerate(row):
            for other in row[i + 1 : i + 1 + WINDOW]:
                if one >= 0 and other >= 0:
                    expected[one, other] += 1
                    expected[other, one] += 1
    np.testing.assert_array_equal(counted(rows, 5), expected)


def test_parts_add_up():
    parts = [Ragged.from_rows([[0, 1]]), Ragged.from_rows([[1, 2], [0, 1]])]
    whole = counted([[0, 1], [1, 2], [0, 1]], 3)
    np.testing.assert_array_equal(neighbours(parts, 3).toarray(), whole)


def test_numbers_in_alike_places_have_alike_vectors():
    # 0 and 1 stand beside 2 and 3; 4 and 5 beside 6 and 7; 8 beside nothing.
    rows = [[a, b] for near, far in (((0, 1), (2, 3)), ((4, 5), (6, 7))) for a in near for b in far]
    found = neighbour_vectors(neighbours([Ragged.from_rows([*rows, [8]])], 9), 4)
    assert found.dtype == np.float32 and found.shape == (9, 4)
    np.testing.assert_allclose(np.linalg.norm(found[:8], axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(found[8], 0)
    assert found[0] @ found[1] > 0.99 and abs(found[0] @ found[4]) < 0.01


@pytest.mark.parametrize("rows", [[[0], [1], [2], [3]], [[0, 0, 0, 0]], []])
def test_text_without_neighbours_gives_no_directions(rows):
    np.testing.assert_array_equal(neighbour_vectors(neighbours([Ragged.from_rows(rows)], 4), 2), np.zeros((4, 2)))


def test_a_view_of_rows_is_counted_as_the_rows_are():
    rows = Ragged.from_rows([[0, 1], [1, 2], [2, 0]])
    np.testing.assert_array_equal(neighbours([rows.slice(1, 2)], 3).toarray(), counted([[1, 2]], 3))
