"""Batches: every row once an epoch, in an order that only seed and epoch decide, shared fairly among ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.batches import Batches
from data.ragged import Ragged
from data.streams import derived_seed, generator


def columns(rows: int, seed: int = 0) -> dict[str, Ragged | np.ndarray]:
    """Rows of 1 to 30 tokens; token and label tell the number of the row."""
    lengths = np.random.default_rng(seed).integers(1, 31, rows)
    tokens = Ragged.from_rows([[number + 1] * length for number, length in enumerate(lengths)])
    return {
        "input_ids": tokens,
        "token_type_ids": Ragged(np.ones(len(tokens.values), np.int8), tokens.offsets),
        "labels": np.arange(rows),
        "teacher_logits": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2),
    }


def order(batches: Batches, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch["rows"].tolist() for batch in batches.epoch(epoch, start)]


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@given(st.integers(1, 90), st.integers(1, 20), st.booleans(), st.booleans(), st.integers(0, 3))
def test_every_row_comes_once_an_epoch(rows, batch_size, shuffle, by_length, epoch):
    batches = Batches(columns(rows), batch_size, shuffle=shuffle, by_length=by_length, workers=0)
    found = order(batches, epoch)
    assert sorted(row for batch in found for row in batch) == list(range(rows))
    assert len(found) == batches.steps_per_epoch == -(-rows // batch_size)
    assert sorted(map(len, found), reverse=True)[: rows // batch_size] == [batch_size] * (rows // batch_size)


def test_the_order_depends_on_seed_and_epoch_alone():
    first = [order(Batches(columns(200), 8, seed=3), epoch) for epoch in (0, 1)]
    assert first == [order(Batches(columns(200), 8, seed=3), epoch) for epoch in (0, 1)]
    assert first[0] != first[1]
    assert order(Batches(columns(200), 8, seed=4)) != first[0]


def test_a_later_epoch_needs_no_earlier_one():
    used = Batches(columns(50), 8)
    list(used.epoch(0))
    assert order(used, 1) == order(Batches(columns(50), 8), 1)


@pytest.mark.parametrize("by_length", [True, False])
def test_workers_change_neither_order_nor_content(by_length):
    runs = [list(Batches(columns(100), 8, by_length=by_length, workers=count).epoch(0)) for count in (0, 1, 2)]
    for other in runs[1:]:
        assert len(other) == len(runs[0])
        assert all(same(first, second) for first, second in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_start_leaves_out_that_many_batches(workers):
    batches = Batches(columns(100), 8, workers=workers)
    whole = order(batches, 2)
    assert [order(batches, 2, start) for start in (0, 5, 12, 13)] == [whole, whole[5:], whole[12:], []]


def test_leaving_early_ends_the_workers():
    batches = Batches(columns(100), 8, workers=2)
    epoch = batches.epoch(0)
    first = next(epoch)
    epoch.close()
    assert same(first, next(batches.epoch(0)))


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 5))
def test_ranks_part_every_batch_and_their_weights_sum_to_1(rows, batch_size, world):
    data = columns(rows)
    whole = list(Batches(data, batch_size, workers=0).epoch(0))
    ranks = [list(Batches(data, batch_size, rank=rank, world=world, workers=0).epoch(0)) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {len(whole)}
    for batch, *shares in zip(whole, *ranks, strict=True):
        weights = [float(share["weight"]) for share in shares]
        assert sum(weights) == pytest.approx(1)
        counted = [row for share in shares if share["weight"] > 0 for row in share["rows"].tolist()]
        assert sorted(counted) == sorted(batch["rows"].tolist())
        for share, weight in zip(shares, weights, strict=True):
            assert weight == pytest.approx(len(share["rows"]) / len(batch["rows"]) if weight else 0)


def test_a_rank_without_rows_gets_one_of_weight_0():
    shares = [next(Batches(columns(2), 4, rank=rank, world=3).epoch(0)) for rank in range(3)]
    assert [float(share["weight"]) for share in shares] == [0.5, 0.5, 0.0]
    assert [share["input_ids"].shape[0] for share in shares] == [1, 1, 1]


def test_the_weighted_mean_over_ranks_is_the_mean_over_the_batch():
    data = columns(7)
    mean = next(Batches(data, 7).epoch(0))["labels"].mean()
    shares = [next(Batches(data, 7, rank=rank, world=3).epoch(0)) for rank in range(3)]
    assert sum(float(share["weight"]) * share["labels"].mean() for share in shares) == pytest.approx(mean)


def test_a_single_process_has_weight_1():
    assert [float(batch["weight"]) for batch in Batches(columns(10), 4).epoch(0)] == [1.0, 1.0, 1.0]


def test_fields_are_padded_with_their_true_lengths_beside_them():
    data = {
        "input_ids": Ragged.from_rows([[5], [6, 7, 8]]),
        "token_type_ids": Ragged.from_rows([[1], [1, 1, 1]]),
        "input_ids_b": Ragged.from_rows([[1, 2], [3]]),
        "labels": np.asarray([1, 0]),
    }
    batch = next(Batches(data, 2, pad_id=9, shuffle=False, by_length=False).epoch(0))
    assert {name: value.tolist() for name, value in batch.items()} == {
        "weight": 1.0,
        "count": 2,
        "size": 2,
        "epoch": 0,
        "first": 0,
        "rows": [0, 1],
        "input_ids": [[5, 9, 9], [6, 7, 8]],
        "lengths": [1, 3],
        "token_type_ids": [[1, 0, 0], [1, 1, 1]],
        "input_ids_b": [[1, 2], [3, 9]],
        "lengths_b": [2, 1],
        "labels": [1, 0],
    }
    assert batch["input_ids"].dtype == batch["token_type_ids"].dtype == np.int64


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4))
def test_all_ranks_know_a_batch_by_its_epoch_and_its_first_row(rows, batch_size, world):
    data = {"input_ids": Ragged.from_rows([[n] * (1 + n % 7) for n in range(rows)])}
    ranks = [Batches(data, batch_size, seed=3, rank=rank, world=world) for rank in range(world)]
    for epoch in (0, 2):
        plan = ranks[0].plan(epoch)
        for batches in ranks:
            told = [(int(batch["epoch"]), int(batch["first"])) for batch in batches.epoch(epoch)]
            assert told == [(epoch, part[0]) for part in plan]


@given(st.integers(1, 60), st.integers(1, 9))
def test_every_field_tells_of_the_same_rows(rows, batch_size):
    data = columns(rows)
    for batch in Batches(data, batch_size, workers=0).epoch(1):
        numbers = batch["rows"]
        assert batch["labels"].tolist() == numbers.tolist()
        assert batch["teacher_logits"].tolist() == [[2.0 * i, 2.0 * i + 1] for i in numbers.tolist()]
        assert batch["lengths"].tolist() == data["input_ids"].lengths[numbers].tolist()
        assert batch["input_ids"].shape[1] == batch["lengths"].max()
        assert (batch["input_ids"] != 0).sum(1).tolist() == batch["lengths"].tolist()
        assert batch["input_ids"][:, 0].tolist() == (numbers + 1).tolist()


def padding(batches: Batches) -> int:
    return sum(int((batch["input_ids"] == 0).sum()) for batch in batches.epoch(0))


def test_rows_of_similar_length_need_less_padding():
    data = columns(1000)
    alike, plain = (padding(Batches(data, 16, by_length=by_length)) for by_length in (True, False))
    assert alike < plain / 10


def test_batches_of_similar_length_come_in_random_order():
    widths = [batch["input_ids"].shape[1] for batch in Batches(columns(400), 8).epoch(0)]
    assert widths != sorted(widths)
    assert widths != sorted(widths, reverse=True)


def test_without_shuffling_batches_go_from_long_to_short():
    batches = Batches(columns(100), 8, shuffle=False)
    lengths = [length for batch in batches.epoch(0) for length in batch["lengths"].tolist()]
    assert lengths == sorted(lengths, reverse=True)
    assert order(batches, 0) == order(batches, 5)


def test_both_sides_of_a_pair_count_for_the_length():
    data = {"input_ids": Ragged.from_rows([[1] * 2, [1] * 3]), "input_ids_b": Ragged.from_rows([[1] * 9, [1]])}
    assert order(Batches(data, 1, shuffle=False)) == [[0], [1]]


def test_without_shuffling_and_lengths_rows_keep_their_order():
    assert order(Batches(columns(5), 2, shuffle=False, by_length=False)) == [[0, 1], [2, 3], [4]]


def test_columns_without_token_ids_are_batched_too():
    batches = Batches({"x": np.arange(4)}, 3, shuffle=False)
    assert [batch["x"].tolist() for batch in batches.epoch(0)] == [[0, 1, 2], [3]]


def test_columns_must_be_equally_long():
    with pytest.raises(ValueError, match=r"all columns must have as many rows, got \{'x': 2, 'y': 3\}"):
        Batches({"x": np.arange(2), "y": np.arange(3)}, 1)


def test_no_rows_make_no_batches():
    empty = Batches({"input_ids": Ragged.from_rows([])}, 4)
    assert (empty.steps_per_epoch, order(empty)) == (0, [])


def test_random_streams_differ_by_purpose_and_stay_the_same_everywhere():
    # SHA-256 of "42/data order/0", the first 8 bytes, little-endian, without the lowest bit.
    assert derived_seed(42, "data order", 0) == 683502877442316555
    assert derived_seed(42, "data order", 1) != derived_seed(42, "data order", 0)
    assert generator(1, "a").random() == generator(1, "a").random()
    assert generator(1, "a").random() != generator(1, "b").random()


def test_widths_are_rounded_up_but_not_beyond_the_limit():
    columns = {"input_ids": Ragged.from_rows([[1] * 3, [1] * 9, [1] * 13])}
    batches = Batches(columns, 1, shuffle=False, by_length=False, workers=0, multiple=8, max_width=12)
    assert [batch["input_ids"].shape[1] for batch in batches.epoch(0)] == [8, 12, 13]
