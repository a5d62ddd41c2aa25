"""Named columns: taking, joining, padding, and what losses are means over."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.batches import Batches
from data.columns import Columns, JoinedColumns, columns_checksum
from data.ragged import Ragged
from data.store import Store, StoreDamaged, StoreWriter

ROWS = [[5, 6, 7], [8], [9, 10]]


def columns():
    states = Ragged.from_lengths(np.arange(12, dtype=np.float32).reshape(6, 2), np.array([3, 1, 2]))
    return Columns({"input_ids": Ragged.from_rows(ROWS), "states": states, "labels": np.array([1, 0, 1])})


def test_taken_rows_keep_their_order_in_every_column():
    found = columns().take(np.array([2, 0]))
    assert found.rows == 2
    assert [found["input_ids"][row].tolist() for row in range(2)] == [[9, 10], [5, 6, 7]]
    assert found["states"][0].tolist() == [[8.0, 9.0], [10.0, 11.0]]
    assert found["labels"].tolist() == [1, 1]


def test_parts_are_joined_column_by_column():
    whole = columns()
    again = Columns.concat([whole.take(np.array([0])), whole.take(np.array([1, 2]))])
    assert again.rows == 3
    assert again["states"].values.tolist() == whole["states"].values.tolist()
    with pytest.raises(ValueError, match="expected parts with the same columns"):
        Columns.concat([whole, Columns({"labels": np.zeros(1)})])


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="as many rows"):
        columns().with_(weights=np.zeros(2))


def test_padding_by_hand():
    found = columns().padded(np.array([1, 2]), pad_id=3)
    assert found["input_ids"].tolist() == [[8, 3], [9, 10]]
    assert found["input_ids"].dtype == np.int64
    assert found["lengths"].tolist() == [1, 2]
    assert found["states"].tolist() == [[[6.0, 7.0], [0.0, 0.0]], [[8.0, 9.0], [10.0, 11.0]]]
    assert found["states"].dtype == np.float32


def test_a_store_gives_back_columns_of_vectors(tmp_path):
    with StoreWriter(tmp_path / "s") as writer:
        columns().write(writer)
        columns().write(writer)
    found = Columns.read(Store(tmp_path / "s"))
    assert found.rows == 6
    np.testing.assert_array_equal(found["states"][5], [[8, 9], [10, 11]])
    assert found["states"].values.shape == (12, 2)


@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=12), world=st.integers(1, 3), size=st.integers(1, 5))
def test_weighted_means_over_processes_are_the_mean_over_what_is_counted(counts, world, size):
    """A loss that each process takes as a mean over its own masked positions."""
    rng = np.random.default_rng(len(counts))
    values = Ragged.from_rows([rng.integers(0, 9, count) for count in counts])
    known = {"input_ids": Ragged.from_rows([[1]] * len(counts)), "masked": values}
    ranks = [list(Batches(known, size, rank=r, world=world, count_by="masked").epoch(0)) for r in range(world)]
    whole = Batches(known, size, count_by="masked").epoch(0)
    for batch, *parts in zip(whole, *ranks, strict=True):
        taken = np.concatenate([values[row] for row in batch["rows"]])
        assert {int(part["count"]) for part in parts} == {len(taken)}
        if len(taken) == 0:
            continue
        means = [
            np.concatenate([values[row] for row in part["rows"]]).mean() if part["weight"] > 0 else 0.0
            for part in parts
        ]
        total = sum(mean * part["weight"] for mean, part in zip(means, parts, strict=True))
        assert total == pytest.approx(taken.mean())


def test_rows_are_counted_unless_told_otherwise():
    (batch,) = Batches({"input_ids": Ragged.from_rows(ROWS)}, 4).epoch(0)
    assert (float(batch["weight"]), int(batch["count"]), int(batch["size"])) == (1.0, 3, 3)
    (batch,) = Batches(columns(), 4, count_by="states").epoch(0)
    assert int(batch["count"]) == 6


# Stores that somebody forged


def forged(folder, change):
    """A store whose manifest was changed and given its checksum again."""
    import hashlib

    with StoreWriter(folder) as writer:
        columns().write(writer)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    change(manifest)
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def set_in(*path, value):
    def change(manifest):
        place = manifest
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


LABELS = ("columns", "labels", "files", "values")
IDS = ("columns", "input_ids", "files")


@pytest.mark.parametrize(
    "change",
    [
        set_in(*LABELS, "dtype", value="|O"),
        set_in(*LABELS, "dtype", value="|O8"),
        set_in(*LABELS, "dtype", value="|V8"),
        set_in(*LABELS, "dtype", value="<U2"),
        set_in(*LABELS, "dtype", value=[["a", "<i8"]]),
        set_in(*LABELS, "dtype", value="(2,)<i4"),
        set_in(*LABELS, "name", value="../secret"),
        set_in(*LABELS, "name", value="/etc/passwd"),
        set_in(*LABELS, "bytes", value=-8),
        set_in(*LABELS, "bytes", value="24"),
        set_in("rows", value=10**9),
        set_in("rows", value=-1),
        set_in("rows", value=3.0),
        set_in("rows", value=True),
        set_in("columns", "states", "shape", value=[3]),
        set_in("columns", "states", "shape", value=[0]),
        set_in("columns", "states", "shape", value=[-2]),
        set_in("columns", "labels", "ragged", value=True),
        set_in(*IDS, "offsets", "dtype", value="<i4"),
        set_in(*IDS, "values", "bytes", value=8),
        set_in("columns", value=[]),
        set_in("metadata", value=None),
    ],
)
def test_forged_manifests_are_refused(tmp_path, change):
    forged(tmp_path / "s", change)
    with pytest.raises(StoreDamaged):
        Store(tmp_path / "s", verify=False)


@pytest.mark.parametrize("offsets", [[0, 3, 4, 10**6], [0, 4, 3, 6], [2, 3, 4, 6], [0, -5, 4, 6]])
def test_offsets_outside_of_the_values_are_refused(tmp_path, offsets):
    with StoreWriter(tmp_path / "s") as writer:
        columns().write(writer)
    np.asarray(offsets, "<i8").tofile(tmp_path / "s" / "input_ids.offsets.bin")
    with pytest.raises(StoreDamaged, match="offsets outside of the values"):
        Store(tmp_path / "s", verify=False)


def test_joined_columns_take_more_and_are_written_whole(tmp_path):
    parts = [Columns({"a": np.arange(2), "b": Ragged.from_rows([[1], [2, 3]])}) for _ in range(2)]
    joined = JoinedColumns(parts)
    assert sorted(joined.with_(c=np.arange(4))) == ["a", "b", "c"]
    with StoreWriter(tmp_path / "store") as writer:
        joined.write(writer)
    found = Columns.read(Store(tmp_path / "store"))
    assert np.asarray(found["a"]).tolist() == [0, 1, 0, 1]
    assert found["b"].values.tolist() == [1, 2, 3, 1, 2, 3]


def test_the_checksum_of_columns_follows_tokens_and_labels_not_what_models_said():
    def made(ids=((1, 2), (3,)), labels=(0.0, 1.5), said=(0.1, 0.2)):
        return Columns(
            {
                "input_ids": Ragged.from_rows(list(map(list, ids))),
                "labels": np.asarray(labels),
                "logits": np.asarray(said),
            }
        )

    known = columns_checksum(made())
    assert columns_checksum(made()) == known
    assert columns_checksum(made(said=(0.1, 0.3))) == known
    for other in (made(ids=((1,), (2, 3))), made(ids=((1, 2), (4,))), made(labels=(0.0, 1.0))):
        assert columns_checksum(other) != known
    assert columns_checksum(made().take(np.asarray([1, 0]))) != known
    # Shards say the same as their rows together.
    assert columns_checksum(JoinedColumns([made().slice(0, 1), made().slice(1, 2)])) == known
