"""Ragged rows do what lists of lists do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.ragged import Ragged

Lists = list[list[int]]
lists = st.lists(st.lists(st.integers(-5, 1000), max_size=6), max_size=8)
some_lists = st.lists(st.lists(st.integers(-5, 1000), max_size=6), min_size=1, max_size=8)


def as_lists(rows: Ragged) -> Lists:
    return [rows[number].tolist() for number in range(len(rows))]


def views(rows: Lists) -> list[Ragged]:
    """The same rows, alone and as a view into a larger array."""
    around = Ragged.from_rows([[7, 7], *rows, [8]])
    return [Ragged.from_rows(rows), around.slice(1, 1 + len(rows))]


@given(lists)
def test_rows_come_back_as_they_were_packed(rows):
    packed = Ragged.from_rows(rows)
    assert as_lists(packed) == rows
    assert packed.lengths.tolist() == [len(row) for row in rows]
    assert (packed.values.dtype, packed.offsets.dtype) == (np.int32, np.int64)


def test_rows_are_packed_one_after_the_other():
    packed = Ragged.from_rows([[1, 2], [], [3]])
    assert (packed.values.tolist(), packed.offsets.tolist()) == ([1, 2, 3], [0, 2, 2, 3])


def test_rows_are_packed_from_an_iterator_with_another_type():
    packed = Ragged.from_rows((range(n) for n in (2, 1)), np.int8)
    assert as_lists(packed) == [[0, 1], [0]]
    assert packed.values.dtype == np.int8


@given(some_lists, st.data())
def test_take(rows, data):
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    for packed in views(rows):
        assert as_lists(packed.take(np.asarray(wanted, np.int64))) == [rows[i] for i in wanted]


def test_what_was_taken_is_a_copy():
    packed = Ragged.from_rows([[1], [2]])
    packed.take(np.asarray([0])).values[0] = 9
    assert packed.values.tolist() == [1, 2]


@given(lists, st.integers(0, 9), st.integers(0, 9))
def test_slice(rows, start, stop):
    for packed in views(rows):
        start, stop = min(start, len(rows)), min(max(start, stop), len(rows))
        assert as_lists(packed.slice(start, stop)) == rows[start:stop]


@given(lists, st.integers(0, 9))
def test_a_slice_may_go_past_the_end(rows, start):
    start = min(start, len(rows))
    assert as_lists(Ragged.from_rows(rows).slice(start, len(rows) + 5)) == rows[start:]


def test_a_slice_shares_its_values():
    packed = Ragged.from_rows([[1], [2]])
    assert packed.slice(1, 2).values is packed.values


@given(lists)
def test_compact(rows):
    for packed in views(rows):
        compact = packed.compact()
        assert as_lists(compact) == rows
        assert (compact.offsets[0], compact.offsets[-1]) == (0, len(compact.values))


def test_compact_rows_stay_as_they_are():
    packed = Ragged.from_rows([[1], [2]])
    assert packed.compact() is packed


@given(lists, st.integers(0, 7))
def test_cut_to_one_length(rows, length):
    for packed in views(rows):
        assert as_lists(packed.cut(np.asarray(length))) == [row[:length] for row in rows]


@given(lists, st.data())
def test_cut_to_a_length_a_row(rows, data):
    lengths = data.draw(st.lists(st.integers(0, 7), min_size=len(rows), max_size=len(rows)))
    for packed in views(rows):
        cut = packed.cut(np.asarray(lengths, np.int64))
        assert as_lists(cut) == [row[:length] for row, length in zip(rows, lengths, strict=True)]


@given(some_lists, st.data(), st.integers(-1, 3))
def test_padded(rows, data, fill):
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=6))
    width = max(len(rows[i]) for i in wanted)
    expected = [rows[i] + [fill] * (width - len(rows[i])) for i in wanted]
    for packed in views(rows):
        padded = packed.padded(np.asarray(wanted), fill)
        assert padded.tolist() == expected
        assert (padded.shape, padded.dtype) == ((len(wanted), width), np.int64)


@pytest.mark.parametrize(("width", "expected"), [(4, [[1, 2, 0, 0], [3, 0, 0, 0]]), (1, [[1], [3]])])
def test_padded_to_a_width(width, expected):
    assert Ragged.from_rows([[1, 2], [3]]).padded(np.asarray([0, 1]), 0, width).tolist() == expected


def test_padding_no_rows():
    assert Ragged.from_rows([[1]]).padded(np.empty(0, np.int64), 0).shape == (0, 0)


@given(st.lists(lists, min_size=1, max_size=4))
def test_concat(parts):
    packed = [views(rows)[number % 2] for number, rows in enumerate(parts)]
    assert as_lists(Ragged.concat(packed)) == [row for rows in parts for row in rows]
