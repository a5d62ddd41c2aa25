"""The store: what is written is read back, damage is found, and a half-written store is never seen."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import store as store_module
from data.ragged import Ragged
from data.store import Store, StoreDamaged, StoreWriter
from files import file_checksum, new_folder, recover_folder, write_atomically

rows_of_blocks = st.lists(
    st.lists(
        st.tuples(
            st.integers(-(2**31), 2**31 - 1),
            st.floats(width=32, allow_nan=False),
            st.lists(st.integers(0, 30521), max_size=5),
        ),
        max_size=6,
    ),
    min_size=1,
    max_size=4,
)


def write(folder: Path, rows: int = 3, **metadata) -> Path:
    with StoreWriter(folder, metadata) as writer:
        writer.append(
            ids=np.arange(rows, dtype=np.int32),
            logits=np.arange(2 * rows, dtype=np.float32).reshape(rows, 2),
            tokens=Ragged.from_rows([[row] * row for row in range(rows)]),
        )
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@given(rows_of_blocks, st.booleans())
def test_blocks_of_plain_square_and_ragged_columns_come_back(tmp_path_factory, blocks, memory_map):
    folder = tmp_path_factory.mktemp("store") / "s"
    with StoreWriter(folder) as writer:
        for block in blocks:
            writer.append(
                ids=np.asarray([row[0] for row in block], np.int64),
                logits=np.asarray([[row[1], 1.0] for row in block], np.float32).reshape(-1, 2),
                tokens=Ragged.from_rows(row[2] for row in block),
            )
    store = Store(folder, memory_map=memory_map)
    rows = [row for block in blocks for row in block]
    assert len(store) == writer.rows == len(rows)
    assert store.columns == ("ids", "logits", "tokens")
    assert store["ids"].tolist() == [row[0] for row in rows]
    assert store["logits"].tolist() == [[row[1], 1.0] for row in rows]
    assert (store["logits"].shape, store["logits"].dtype) == ((len(rows), 2), np.float32)
    tokens = store["tokens"]
    assert [tokens[number].tolist() for number in range(len(tokens))] == [row[2] for row in rows]


def test_views_into_larger_rows_are_written_alone(tmp_path):
    rows = Ragged.from_rows([[1], [2, 3], [4]])
    with StoreWriter(tmp_path / "s") as writer:
        writer.append(tokens=rows.slice(1, 2))
        writer.append(tokens=rows.slice(0, 1))
    assert Store(tmp_path / "s")["tokens"].values.tolist() == [2, 3, 1]


def test_metadata_come_back(tmp_path):
    metadata = {"kind": "x", "units": ["好", "a\n"], "n": [1, 2.5, None, True]}
    assert Store(write(tmp_path / "s", **metadata)).metadata == metadata


def test_bytes_are_little_endian_whatever_was_given(tmp_path):
    with StoreWriter(tmp_path / "s") as writer:
        writer.append(ids=np.asarray([1, 258], ">u2"))
    assert (tmp_path / "s" / "ids.bin").read_bytes() == b"\x01\x00\x02\x01"
    assert Store(tmp_path / "s")["ids"].tolist() == [1, 258]


def test_a_store_without_rows_is_a_store(tmp_path):
    store = Store(write(tmp_path / "s", rows=0))
    assert len(store) == 0
    assert (store["logits"].shape, len(store["tokens"])) == ((0, 2), 0)


def test_a_store_without_columns_is_a_store(tmp_path):
    with StoreWriter(tmp_path / "s", {"kind": "none"}):
        pass
    store = Store(tmp_path / "s")
    assert (len(store), store.columns, store.metadata) == (0, (), {"kind": "none"})


def test_nothing_is_left_beside_a_store(tmp_path):
    write(tmp_path / "s")
    assert names(tmp_path) == {"s"}
    assert names(tmp_path / "s") == {"manifest.json", "ids.bin", "logits.bin", "tokens.bin", "tokens.offsets.bin"}


FILES = ["ids.bin", "logits.bin", "tokens.bin", "tokens.offsets.bin"]


@pytest.mark.parametrize("file", FILES)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(tmp_path_factory, file, place, bit):
    folder = write(tmp_path_factory.mktemp("store") / "s")
    content = bytearray((folder / file).read_bytes())
    content[place % len(content)] ^= 1 << bit
    (folder / file).write_bytes(content)
    with pytest.raises(StoreDamaged, match=rf"{file}: the checksum differs"):
        Store(folder)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("verify", [True, False])
def test_a_cut_file_is_found_even_without_checksums(tmp_path, file, verify):
    path = write(tmp_path / "s") / file
    size = path.stat().st_size
    os.truncate(path, size - 1)
    with pytest.raises(StoreDamaged, match=rf"{file}: expected {size} bytes, found {size - 1}"):
        Store(tmp_path / "s", verify=verify)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_found(tmp_path, file):
    (write(tmp_path / "s") / file).unlink()
    with pytest.raises(StoreDamaged, match=rf"{file}: expected \d+ bytes, found none"):
        Store(tmp_path / "s")


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"format": 1}'])
def test_without_a_sound_manifest_there_is_no_store(tmp_path, content):
    manifest = write(tmp_path / "s") / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_bytes(content)
    with pytest.raises(StoreDamaged, match=r"s: "):
        Store(tmp_path / "s")


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_manifest_is_found(tmp_path_factory, place, bit):
    path = write(tmp_path_factory.mktemp("store") / "s", units=["good", "好"]) / "manifest.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        Store(path.parent)
    except StoreDamaged:
        return
    # White space between the values may change.
    assert json.loads(path.read_text(encoding="utf-8")) == before


@pytest.mark.parametrize("changes", [{"rows": 2}, {"metadata": {"units": ["bad"]}}, {"columns": {}}, {"sha256": None}])
def test_a_changed_manifest_is_found(tmp_path, changes):
    path = write(tmp_path / "s", units=["good"]) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(StoreDamaged, match=r"manifest\.json: the checksum differs"):
        Store(tmp_path / "s")


def test_another_format_is_named(tmp_path):
    path = write(tmp_path / "s") / "manifest.json"
    path.write_text(path.read_text().replace(store_module.FORMAT, "paddledistill-store-0"))
    with pytest.raises(StoreDamaged, match=r"expected a store of format paddledistill-store-1, found 'paddledistill"):
        Store(tmp_path / "s")


def test_no_folder_is_no_store(tmp_path):
    with pytest.raises(StoreDamaged, match="no complete store here"):
        Store(tmp_path / "s")


def test_an_exception_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "s") as writer:
        writer.append(ids=np.arange(3))
        raise KeyboardInterrupt
    assert names(tmp_path) == set()


def test_an_existing_store_stays_until_the_new_one_is_complete(tmp_path):
    write(tmp_path / "s", rows=3)
    with StoreWriter(tmp_path / "s") as writer:
        writer.append(ids=np.arange(7))
        assert len(Store(tmp_path / "s")) == 3
    assert len(Store(tmp_path / "s")) == 7
    assert names(tmp_path) == {"s"}


def test_an_existing_store_survives_a_failure(tmp_path):
    write(tmp_path / "s", rows=3)
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "s") as writer:
        writer.append(ids=np.arange(7))
        raise RuntimeError
    assert len(Store(tmp_path / "s")) == 3
    assert names(tmp_path) == {"s"}


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"), StoreWriter(tmp_path / "s") as writer:
        writer.append(ids=np.arange(3))
        monkeypatch.setattr(os, "fsync", full)
    assert names(tmp_path) == set()


def test_metadata_that_are_no_json_leave_nothing(tmp_path):
    with pytest.raises(TypeError), StoreWriter(tmp_path / "s", {"x": object()}) as writer:
        writer.append(ids=np.arange(3))
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"a": np.arange(2), "b": np.arange(3)}, "as many rows"),
        ({"a": np.arange(2)}, r"expected the columns \['a', 'b'\], got \['a'\]"),
        ({"a": np.arange(2), "c": np.arange(2)}, "expected the columns"),
        ({"a": np.zeros((2, 3)), "b": np.arange(2)}, r"expected rows of shape \[\], got \[3\]"),
        ({"a": Ragged.from_rows([[1], [2]]), "b": np.arange(2)}, "ragged in every block or in none"),
    ],
)
def test_blocks_must_be_alike(tmp_path, block, message):
    with pytest.raises(ValueError, match=message), StoreWriter(tmp_path / "s") as writer:
        writer.append(a=np.arange(1), b=np.arange(1))
        writer.append(**block)
    assert names(tmp_path) == set()


def test_a_mapped_column_equals_one_that_was_read(tmp_path, monkeypatch):
    write(tmp_path / "s", rows=20)
    read = Store(tmp_path / "s")
    monkeypatch.setattr(store_module, "MEMORY_MAP_BYTES", 8)
    mapped = Store(tmp_path / "s")
    assert isinstance(mapped["ids"], np.memmap)
    assert not isinstance(Store(tmp_path / "s", memory_map=False)["ids"], np.memmap)
    for name in ("ids", "logits"):
        assert np.array_equal(mapped[name], read[name])
    rows = np.asarray([3, 0, 19])
    assert mapped["tokens"].padded(rows, -1).tolist() == read["tokens"].padded(rows, -1).tolist()


def test_a_checksum_is_sha_256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_checksum(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "deep" / "f.json"
    write_atomically(path, "old")
    write_atomically(path, "新".encode())
    assert path.read_text(encoding="utf-8") == "新"
    assert names(path.parent) == {"f.json"}
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_file_keeps_its_content_when_writing_fails(tmp_path, monkeypatch, step):
    write_atomically(tmp_path / "f", "old")

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old"
    assert names(tmp_path) == {"f"}


def test_a_folder_appears_when_it_is_finished(tmp_path):
    with new_folder(tmp_path / "deep" / "m") as temporary:
        (temporary / "f").write_text("x")
        assert not (tmp_path / "deep" / "m").exists()
    assert (tmp_path / "deep" / "m" / "f").read_text() == "x"
    assert names(tmp_path / "deep") == {"m"}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for name in ("old", "new"):
        with new_folder(tmp_path / "m") as temporary:
            (temporary / name).write_text("x")
    assert names(tmp_path / "m") == {"new"}
    assert names(tmp_path) == {"m"}


def test_a_folder_keeps_its_content_when_the_block_raises(tmp_path):
    with new_folder(tmp_path / "m") as temporary:
        (temporary / "old").write_text("x")
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "m") as temporary:
        (temporary / "new").write_text("x")
        raise KeyboardInterrupt
    assert names(tmp_path / "m") == {"old"}
    assert names(tmp_path) == {"m"}


def test_a_folder_that_a_killed_publication_moved_aside_comes_back(tmp_path, monkeypatch):
    target = tmp_path / "checkpoint"
    with new_folder(target) as folder:
        (folder / "state").write_text("old")
    rename, calls = os.rename, []

    def killed_at_the_third(source, destination):
        calls.append(destination)
        # Once it is killed it does nothing more; the first was refused, as the name is taken.
        if len(calls) >= 3:
            raise KeyboardInterrupt
        rename(source, destination)

    monkeypatch.setattr(os, "rename", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt), new_folder(target) as folder:
        (folder / "state").write_text("new")
    monkeypatch.undo()
    assert not target.exists()
    recover_folder(target)
    assert (target / "state").read_text() == "old"
    recover_folder(target)
    assert (target / "state").read_text() == "old"
